// Which config file each side was read by, and whose it is.
import { createHash } from "node:crypto";
import { unreadDifferences } from "../family/config-differences.ts";
import type { ParityModel } from "./side.ts";

export interface SideConfig {
  readonly path: string;
  /** Of the file's bytes. */
  readonly sha256: string;
  /** `own`: beside the checkpoint. `given`: for whichever side has none. `given for it`: for this side alone. */
  readonly origin: "own" | "given" | "given for it";
}

/** Of each side; null where it is not known, and for a golden. */
export interface SideConfigs {
  readonly a: SideConfig | null;
  readonly b: SideConfig | null;
  /** Fields that they have otherwise, and that no graph reads; absent where there are none. */
  readonly unread?: readonly string[];
}

const ORIGINS = { "where none is": "given", "for it alone": "given for it" } as const;

function configOf(model: ParityModel | undefined): SideConfig | null {
  const config = model?.stored?.config;
  if (config === undefined) return null;
  const { path, text, given } = config;
  const sha256 = createHash("sha256").update(text, "utf8").digest("hex");
  return { path, sha256, origin: given === undefined ? "own" : ORIGINS[given] };
}

export function configsOf([a, b]: readonly ParityModel[]): SideConfigs {
  const sides = { a: configOf(a), b: configOf(b) };
  if (a === undefined || b === undefined || sides.a?.sha256 === sides.b?.sha256) return sides;
  const unread = unreadDifferences(a.family, b.family);
  return unread.length === 0 ? sides : { ...sides, unread };
}

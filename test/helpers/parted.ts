// Conversions by parts, as library calls.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { adapters } from "../../adapters/registry.ts";
import { finalize, type JoinedConversion } from "../../src/convert/parts/finalize.ts";
import { convertPart, type PartConversion, type PartOptions } from "../../src/convert/parts/part.ts";
import { planConversion } from "../../src/convert/plan.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import type { Options } from "./converted.ts";

/** Makes one part with the built-in families; `config` is what --config gives. */
export async function convertedPart(
  from: string,
  to: string,
  [number, of]: readonly [number, number],
  { config, force = false, ...options }: Options = {},
  part: PartOptions = {},
): Promise<PartConversion> {
  const source = openCheckpoint(from);
  try {
    const plan = planConversion(source, to, { adapters, config, ...options });
    return await convertPart(plan, { number, of }, { fsync: false, force, ...part });
  } finally {
    source.close();
  }
}

/** All parts, the last one first, and what they are joined to. */
export async function convertedByParts(
  from: string,
  to: string,
  of: number,
  options: Options = {},
): Promise<JoinedConversion> {
  for (let number = of; number > 0; number -= 1) await convertedPart(from, to, [number, of], options);
  return finalize(to, { fsync: false, force: options.force ?? false });
}

export const hashOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** SHA-256 of every file of a folder, or of a file, by its path. */
export function filesOf(path: string, isFile = false): Map<string, string> {
  if (isFile) return new Map([["", hashOf(readFileSync(path))]]);
  const entries = readdirSync(path, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const names = entries.map(({ parentPath, name }) => join(parentPath, name)).toSorted();
  return new Map(names.map((name) => [name.slice(path.length + 1), hashOf(readFileSync(name))]));
}

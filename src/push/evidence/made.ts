// The conversion that has just been made, as the report that it would write.
import type { Check } from "../../base/check.ts";
import { isJsonObject, type JsonObject } from "../../base/json.ts";
import { VERSION } from "../../base/version.ts";
import type { Report } from "./report.ts";
import { runsOf } from "./run.ts";

export interface MadeConversion {
  /** The JSON document of `convert`, without its header. */
  readonly data: object;
  readonly checks: readonly Check[];
  /** The command line. */
  readonly command: string;
}

/** Its files are known by their hashes, where these were asked for. */
export function reportOfMade({ data, checks, command }: MadeConversion): Report {
  const json: JsonObject = { ...data, checks };
  const files = Array.isArray(json.files) ? json.files.filter(isJsonObject) : [];
  return {
    path: "this conversion",
    sha256: null,
    version: VERSION,
    command,
    time: new Date().toISOString(),
    runs: runsOf(json) ?? [],
    read: [],
    written: files.flatMap(({ name, sha256 }) =>
      typeof name === "string" && typeof sha256 === "string" ? [{ name, sha256 }] : [],
    ),
    json,
  };
}

/** SHA-256 of each file that it wrote. */
export const hashesOfMade = ({ written }: Report): ReadonlyMap<string, string> =>
  new Map(written.map(({ name, sha256 }) => [name, sha256]));

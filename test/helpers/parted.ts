// Conversions by parts, as library calls.
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

/** Every file of a folder, or a file, by its path. */
export function filesOf(path: string, isFile = false): Map<string, Buffer> {
  if (isFile) return new Map([["", readFileSync(path)]]);
  const entries = readdirSync(path, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const names = entries.map(({ parentPath, name }) => join(parentPath, name)).toSorted();
  return new Map(names.map((name) => [name.slice(path.length + 1), readFileSync(name)]));
}

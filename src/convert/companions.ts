// The tokenizer, generation and processor files that a target carries beside its weights.
import { readFileSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Dtype } from "../base/dtype.ts";
import { isFloat } from "../base/floats.ts";
import type { OutputFile } from "../formats/output.ts";
import { type ConfigFile, companionsIn, directoryOf } from "../model/config-files.ts";

export const textFile = (name: string, text: string): OutputFile => {
  const bytes = Buffer.from(text);
  return { name, byteLength: bytes.length, parts: [{ kind: "bytes", bytes }] };
};

/** Read when it is written: a tokenizer can have tens of megabytes. */
function copiedFile(path: string): OutputFile {
  const byteLength = statSync(path).size;
  return { name: basename(path), byteLength, parts: [{ kind: "late", byteLength, make: () => readFileSync(path) }] };
}

/** Files beside the checkpoint, and those beside the config given that the checkpoint lacks. */
export const companionFiles = (checkpoint: string, config: ConfigFile | null): OutputFile[] =>
  companionPaths(checkpoint, config).map(copiedFile);

export function companionPaths(checkpoint: string, config: ConfigFile | null): string[] {
  const own = directoryOf(checkpoint);
  const directories = config === null ? [own] : [own, dirname(config.path)];
  const paths = new Map<string, string>();
  for (const directory of directories) {
    for (const name of companionsIn(directory)) if (!paths.has(name)) paths.set(name, join(directory, name));
  }
  return [...paths.values()];
}

/** The one element type of all floating-point tensors; null where they have several. */
export function commonFloat(dtypes: Iterable<Dtype>): Dtype | null {
  const floats = new Set([...dtypes].filter(isFloat));
  const [only] = floats;
  return floats.size === 1 && only !== undefined ? only : null;
}

// The built command as a user has it: a process, its exit code, its JSON. Nothing here imports the product.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TensorHash } from "../helpers/fixtures.ts";

export const COMMAND = fileURLToPath(new URL("../../dist/bin/convert-checkpoint.js", import.meta.url));

export interface Ran {
  readonly code: number | null;
  readonly stderr: string;
  /** stdout as the JSON document that it must be. */
  // biome-ignore lint/suspicious/noExplicitAny: a test says what it expects of the document
  readonly json: any;
}

/** Runs `convert-checkpoint … --json`. */
export const run = (...args: string[]): Ran => runAt(COMMAND, ...args);

/** The same of the command at a path, e.g. one that is installed elsewhere. */
export function runAt(command: string, ...args: string[]): Ran {
  if (!existsSync(command)) throw new Error("dist/ is not built: npm run build");
  const { status, stdout, stderr } = spawnSync(process.execPath, [command, ...args, "--json"], { encoding: "utf8" });
  return {
    code: status,
    stderr,
    get json() {
      return JSON.parse(stdout);
    },
  };
}

interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

function header(file: Buffer): { readonly entries: [string, Entry][]; readonly begin: number } {
  const length = Number(file.readBigUInt64LE(0));
  const { __metadata__: _, ...entries } = JSON.parse(file.toString("utf8", 8, 8 + length));
  return { entries: Object.entries(entries), begin: 8 + length };
}

/** Every tensor of a directory's safetensors files, by hash. */
export function hashes(directory: string): [string, TensorHash][] {
  return readdirSync(directory)
    .filter((name) => name.endsWith(".safetensors") && !name.startsWith("convert-checkpoint."))
    .flatMap((name) => {
      const file = readFileSync(join(directory, name));
      const { entries, begin } = header(file);
      return entries.map(([key, { dtype, shape, data_offsets }]): [string, TensorHash] => {
        const bytes = file.subarray(begin + data_offsets[0], begin + data_offsets[1]);
        return [key, { dtype, shape, sha256: createHash("sha256").update(bytes).digest("hex") }];
      });
    })
    .sort(byKey);
}

export const byKey = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number => (a < b ? -1 : 1);

/** Changes tensors of `model.safetensors` in place, by their bytes. */
export function edit(directory: string, change: (tensor: (key: string) => Buffer) => void): void {
  const path = join(directory, "model.safetensors");
  const file = readFileSync(path);
  const { entries, begin } = header(file);
  const found = new Map(entries);
  change((key) => {
    const entry = found.get(key);
    if (entry === undefined) throw new Error(`no tensor ${key}`);
    return file.subarray(begin + entry.data_offsets[0], begin + entry.data_offsets[1]);
  });
  writeFileSync(path, file);
}

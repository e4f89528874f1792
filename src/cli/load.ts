// Loads what commands work with, families and checkpoints, when they are asked for.
import type { Adapter } from "../family/adapter.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import type { Arguments } from "./arguments.ts";

/** Opens checkpoints one after the other, and closes those that are open when `use` is done or one cannot be opened. */
export async function withCheckpoints<T>(
  paths: readonly string[],
  use: (checkpoints: readonly Checkpoint[]) => Promise<T>,
): Promise<T> {
  const { openCheckpoint } = await import("../model/open.ts");
  const open: Checkpoint[] = [];
  try {
    for (const path of paths) open.push(openCheckpoint(path));
    return await use(open);
  } finally {
    for (const checkpoint of open) checkpoint.close();
  }
}

/** The built-in families and those of `--adapter`. */
export async function loadAdapters(args: Arguments): Promise<readonly Adapter[]> {
  const { loadAdapters: load } = await import("../../adapters/load.ts");
  return load(args.list("adapter"));
}

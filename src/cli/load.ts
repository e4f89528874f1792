// Loads what commands work with, families and checkpoints, when they are asked for.
import { UsageError } from "../base/errors.ts";
import type { ConversionOptions } from "../convert/plan.ts";
import type { Adapter } from "../family/adapter.ts";
import { RAW } from "../family/layout.ts";
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

/** The source of a conversion, with what `--merge-adapter` names merged into it. It is closed with the source. */
export async function withSource<T>(
  args: Arguments,
  options: ConversionOptions,
  use: (source: Checkpoint) => Promise<T>,
): Promise<T> {
  const paths = args.list("merge-adapter");
  if (paths.length > 0 && options.to === RAW.name) throw mergedRaw();
  return withCheckpoints([args.required("source")], async ([base]) => {
    if (paths.length === 0) return use(base!);
    const { mergeAdapters } = await import("../merge/merge.ts");
    const merged = mergeAdapters(base!, paths, options);
    try {
      return await use(merged);
    } finally {
      merged.close();
    }
  });
}

const mergedRaw = (): UsageError =>
  new UsageError("RAW_KEEPS_ALL", "--to raw changes the container only: nothing is merged", {
    found: "--merge-adapter",
    help: "leave out --merge-adapter, or convert to a layout, such as --to hf",
  });

/** The built-in families and those of `--adapter`. */
export async function loadAdapters(args: Arguments): Promise<readonly Adapter[]> {
  const { loadAdapters: load } = await import("../../adapters/load.ts");
  return load(args.list("adapter"));
}

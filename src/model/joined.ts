// The model's tensors by the keys of its layout, whether they lie in one file or in a shard a rank.
import { InputError } from "../base/errors.ts";
import type { Layout } from "../family/layout.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { RANK_FILE, rankFilesIn } from "../formats/pt/ranks.ts";
import type { Table } from "../table/plan.ts";
import { renamedSource, type TensorSource } from "../views/tensor-source.ts";
import type { ModelKeys } from "./keys.ts";
import { joinRanks, rankedTensors } from "./ranks.ts";

/**
 * Throws InputError RANK_ALONE for one file of several ranks, RANKS_UNKNOWN for shards in a layout that has none, and what
 * joining throws.
 */
export function modelSource(
  checkpoint: Checkpoint & TensorSource,
  keys: ModelKeys,
  layout: Layout,
  table: Table,
): TensorSource {
  const { ranks } = checkpoint;
  if (ranks === undefined) {
    refuseLoneRank(checkpoint);
    return renamedSource(checkpoint, keys.model);
  }
  const ranked = rankedTensors(layout, table);
  if (ranked === null) refuseRanks(checkpoint);
  return joinRanks(ranks, keys.model, ranked ?? new Map());
}

function refuseLoneRank({ path, folder, files: [file = ""] }: Checkpoint): void {
  if (!RANK_FILE.test(file)) return;
  const ranks = rankFilesIn(folder);
  if (ranks.length < 2) return;
  throw new InputError("RANK_ALONE", `${path}: one of ${ranks.length} ranks, each of which holds a part of the model`, {
    file: path,
    expected: "all ranks",
    found: file,
    help: `give the directory, ${folder.path}`,
  });
}

/** Throws InputError RANKS_UNKNOWN for more than one rank: how they join is not known. */
export function refuseRanks({ path, files, ranks = [] }: Checkpoint): void {
  if (ranks.length < 2) return;
  throw new InputError("RANKS_UNKNOWN", `${path}: holds ${ranks.length} ranks, and how they join is not known here`, {
    file: path,
    expected: "one rank, or a layout whose table says how its ranks lie",
    found: files.join(", "),
    help: "name family and layout with --family and --layout, or give a single file with --to raw",
  });
}

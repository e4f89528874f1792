// Files of the ranks of a model-parallel target: each holds its shard of every tensor that is cut, and all others whole.

import { byteLengthOf } from "../base/dtype.ts";
import { UsageError } from "../base/errors.ts";
import type { TensorInfo } from "../formats/checkpoint.ts";
import type { OutputFile } from "../formats/output.ts";
import { planTorchFile } from "../formats/pt/plan.ts";
import { rankFileName } from "../formats/pt/ranks.ts";
import { cutsOf, type RankedTensor } from "../model/ranks.ts";
import type { Produce } from "../output/write/file.ts";

/** Where the bytes of a rank's tensor lie in the whole one: runs of `runBytes`, each `rowBytes` after the last. */
export interface Shard {
  readonly key: string;
  /** Of the first run. */
  readonly begin: number;
  readonly runBytes: number;
  readonly rowBytes: number;
}

export interface RankFiles {
  readonly files: readonly OutputFile[];
  /** By the key in the parts of the files. */
  readonly shards: ReadonlyMap<string, Shard>;
}

/** @throws UsageError RANKS for a number of ranks that is none or that does not divide a tensor's units */
export function planRankFiles(
  tensors: readonly TensorInfo[],
  known: ReadonlyMap<string, RankedTensor>,
  ranks: number,
): RankFiles {
  if (!Number.isSafeInteger(ranks) || ranks < 1)
    throw new UsageError("RANKS", `${ranks} is no number of ranks`, { help: "give a whole number of at least 1" });
  const shards = new Map<string, Shard>();
  const cuts = new Map(tensors.map((info) => [info.key, cutOf(info, known.get(info.key), ranks)]));
  const files = Array.from({ length: ranks }, (_, rank) => {
    const name = rankFileName(rank);
    const own = tensors.map((info) => {
      const cut = cuts.get(info.key) ?? null;
      shards.set(`${name}/${info.key}`, shardOf(info, cut, ranks, rank));
      return cut === null ? info : { ...info, shape: info.shape.with(cut, info.shape[cut]! / ranks) };
    });
    return planTorchFile(own, name, (key) => `${name}/${key}`);
  });
  return { files: files.flat(), shards };
}

/** The dimension along which a tensor is cut; null where every rank has it whole. */
function cutOf({ key, shape }: TensorInfo, known: RankedTensor | undefined, ranks: number): number | null {
  if (known === undefined || known.ranks === "replicated" || ranks === 1) return null;
  const cut = cutsOf(known.ranks)[0]!;
  const units = (shape[cut] ?? 0) / (known.ranks.unit ?? 1);
  if (Number.isInteger(units / ranks)) return cut;
  throw new UsageError(
    "RANKS",
    `--ranks ${ranks}: "${key}" has ${units} units to share, ${shape[cut]} rows or columns`,
    {
      tensor: key,
      expected: `a divisor of ${units}`,
      found: `${ranks}`,
      help: "give a number of ranks that divides vocabulary, feed-forward channels, query heads and key heads",
    },
  );
}

function shardOf(
  { key, dtype, shape, byteLength }: TensorInfo,
  cut: number | null,
  ranks: number,
  rank: number,
): Shard {
  if (cut === null) return { key, begin: 0, runBytes: byteLength, rowBytes: byteLength };
  const rowBytes = byteLengthOf(dtype, shape.slice(cut));
  const runBytes = rowBytes / ranks;
  return { key, begin: rank * runBytes, runBytes, rowBytes };
}

/** Produces shards from whole tensors; both ends of a range fall between elements. */
export const producingShards =
  (shards: ReadonlyMap<string, Shard>, produce: Produce): Produce =>
  (part, begin, end, sink) => {
    const shard = shards.get(part);
    if (shard === undefined) {
      produce(part, begin, end, sink);
      return;
    }
    const { key, runBytes, rowBytes } = shard;
    for (let at = begin; at < end; ) {
      const inRun = at % runBytes;
      const count = Math.min(end - at, runBytes - inRun);
      const from = shard.begin + Math.floor(at / runBytes) * rowBytes + inRun;
      produce(key, from, from + count, sink);
      at += count;
    }
  };

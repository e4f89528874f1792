// The tensors of rank shards as one model's: joined along the dimension that each is cut in, replicated ones compared.

import { byteLengthOf } from "../base/dtype.ts";
import type { Layout } from "../family/layout.ts";
import type { Checkpoint, TensorInfo } from "../formats/checkpoint.ts";
import { rankMissing, ranksDiffer } from "../formats/pt/ranks.ts";
import type { Table } from "../table/plan.ts";
import type { Ranks } from "../table/rule.ts";
import { type TensorSource, tensorInfo } from "../views/tensor-source.ts";

/** What a table says of a tensor of a ranked layout. */
export interface RankedTensor {
  readonly shape: readonly (number | null)[];
  readonly ranks: Ranks;
}

/** By key; null for a layout that is not saved as rank shards. @param table of the layout */
export function rankedTensors({ ranked }: Layout, table: Table): ReadonlyMap<string, RankedTensor> | null {
  if (!ranked) return null;
  const tensors = table.tensors("native");
  return new Map(tensors.map(({ key, shape, ranks }) => [key, { shape, ranks: ranks ?? "replicated" }]));
}

/** Shards of one tensor: the ranks that hold each, and how long its runs are in the joined tensor. */
interface Joined {
  readonly stored: string;
  /** For each shard along the cut, the ranks that hold it: several where there are more ranks than units. */
  readonly holders: readonly (readonly Checkpoint[])[];
  /** Bytes of a shard between two cuts. */
  readonly runBytes: number;
}

/**
 * @param stored key in the files, by the key of the layout
 * @throws InputError RANKS_DIFFER for shards of different shapes, RANK_MISSING where they are too few; while reading,
 * RANKS_DIFFER for replicas that are not the same bytes
 */
export function joinRanks(
  ranks: readonly Checkpoint[],
  stored: ReadonlyMap<string, string>,
  known: ReadonlyMap<string, RankedTensor>,
): TensorSource {
  const tensors = new Map<string, TensorInfo>();
  const joined = new Map<string, Joined>();
  for (const [key, from] of stored) {
    const { info, ...rest } = joinedTensor(ranks, key, from, known.get(key));
    tensors.set(key, info);
    joined.set(key, rest);
  }
  return {
    tensors,
    read(key, begin, target) {
      const tensor = joined.get(key);
      if (tensor === undefined) throw new RangeError(`no tensor ${JSON.stringify(key)}`);
      read(tensor, begin, target);
    },
  };
}

function joinedTensor(ranks: readonly Checkpoint[], key: string, stored: string, known: RankedTensor | undefined) {
  const first = ranks[0]!;
  const { dtype, shape } = first.tensors.get(stored)!;
  for (const rank of ranks) {
    const other = rank.tensors.get(stored)!.shape;
    if (`${other}` !== `${shape}`)
      throw ranksDiffer(first, rank, stored, { expected: `[${shape.join(", ")}]`, found: `[${other.join(", ")}]` });
  }
  const info = tensorInfo(key, dtype, shape);
  const whole = { stored, info, holders: [ranks], runBytes: info.byteLength };
  if (known === undefined || known.ranks === "replicated" || ranks.length === 1) {
    if (known !== undefined && known.ranks !== "replicated") checkCount(first, stored, shape, known, 1);
    return whole;
  }
  const cuts = cutsOf(known.ranks);
  const cut = cuts.find((dim) => shardsOf(shape, known.shape, dim) !== undefined) ?? cuts[0]!;
  const shards = shardsOf(shape, known.shape, cut) ?? ranks.length;
  if (shards > ranks.length) checkCount(first, stored, shape, known, ranks.length);
  const replicas = ranks.length % shards === 0 ? ranks.length / shards : 1;
  const count = ranks.length / replicas;
  const holders = Array.from({ length: count }, (_, i) => ranks.slice(i * replicas, (i + 1) * replicas));
  return {
    stored,
    info: tensorInfo(key, dtype, shape.with(cut, shape[cut]! * count)),
    holders,
    runBytes: byteLengthOf(dtype, shape.slice(cut)),
  };
}

export const cutsOf = ({ cut }: Exclude<Ranks, "replicated">): readonly number[] =>
  typeof cut === "number" ? [cut] : cut;

/** How many shards make up a tensor that is cut along `dim`; undefined if none do. */
function shardsOf(shard: readonly number[], whole: RankedTensor["shape"], dim: number): number | undefined {
  const same = shard.length === whole.length && shard.every((size, i) => i === dim || size === whole[i]);
  const count = (whole[dim] ?? 0) / (shard[dim] ?? 0);
  return same && Number.isInteger(count) && count > 0 ? count : undefined;
}

/** Throws InputError RANK_MISSING for shards that would make up the tensor if there were more of them. */
function checkCount(
  first: Checkpoint,
  key: string,
  shape: readonly number[],
  { shape: whole, ranks }: RankedTensor,
  count: number,
): void {
  if (ranks === "replicated") return;
  const needed = cutsOf(ranks).map((dim) => shardsOf(shape, whole, dim));
  const most = needed.find((shards) => shards !== undefined && shards > count);
  if (most !== undefined)
    throw rankMissing(first.folder, count, `${count} of ${most} ranks, by the shape of "${key}"`, key);
}

function read({ stored, holders, runBytes }: Joined, begin: number, target: Uint8Array): void {
  const rowBytes = runBytes * holders.length;
  for (let done = 0; done < target.length; ) {
    const at = begin + done;
    const inRow = at % rowBytes;
    const inRun = inRow % runBytes;
    const bytes = target.subarray(done, Math.min(target.length, done + runBytes - inRun));
    const from = Math.floor(at / rowBytes) * runBytes + inRun;
    readReplicas(holders[Math.floor(inRow / runBytes)]!, stored, from, bytes);
    done += bytes.length;
  }
}

/** From the first rank that has it; the others must have the same. */
function readReplicas(ranks: readonly Checkpoint[], key: string, begin: number, target: Uint8Array): void {
  const [first, ...others] = ranks;
  first!.read(key, begin, target);
  for (const rank of others) {
    const replica = Buffer.alloc(target.length);
    rank.read(key, begin, replica);
    if (replica.equals(target)) continue;
    const at = replica.findIndex((byte, i) => byte !== target[i]);
    throw ranksDiffer(first!, rank, key, {
      expected: "the same bytes, as it is replicated",
      found: `a difference at byte ${begin + at}`,
    });
  }
}

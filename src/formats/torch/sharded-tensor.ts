// A ShardedTensor in a pickle, as FSDP1 without a mesh of devices saves a sharded state dict: the rank's shards, and where
// those of all ranks lie.
// Source: pytorch/pytorch@v2.13.0:torch/distributed/_shard/sharded_tensor/api.py (`__getstate__`), shard.py, metadata.py
import { refuse, type Where } from "../io/refuse.ts";
import { isSize, isSizes, isTuple, PickleGlobal, PickleList, PickleObject, type PickleValue } from "../pickle/value.ts";
import { DTYPE_OF_GLOBAL } from "./dtype.ts";
import type { RankPart } from "./rank-part.ts";
import { tensorView } from "./rebuild.ts";
import { fieldsOf, isOfClass, isTensor } from "./tensor-types.ts";

const SHARDED = "torch.distributed._shard.sharded_tensor.api ShardedTensor";
const SHARD = "torch.distributed._shard.sharded_tensor.shard Shard";
const SHARD_METADATA = new Set(
  ["torch.distributed._shard.metadata", "torch.distributed._shard.sharding_spec.api"].map((m) => `${m} ShardMetadata`),
);

export const isShardedTensor = (tensor: PickleObject): boolean => isOfClass(tensor, (name) => name === SHARDED);

/** @throws InputError for one that contradicts itself */
export function shardedTensorPart(tensor: PickleObject, where: Where): RankPart {
  const [, , args, state] = tensor.args;
  const fail = (what: string) => refuse(where, "SHARDED_TENSOR_PICKLE", what);
  const [shards, metadata, group] = isTuple(state) ? state : [];
  const all = metadata instanceof PickleObject ? metadata.field("shards_metadata") : undefined;
  const [, given, shape] = isTuple(args) ? args : [];
  const dtype = given instanceof PickleGlobal ? DTYPE_OF_GLOBAL.get(given.name) : undefined;
  if (!(shards instanceof PickleList && all instanceof PickleList && isSizes(shape)) || dtype === undefined)
    throw fail("its pickle is not that of a ShardedTensor: shards, and metadata of all ranks' shards");
  const placed = all.items.map((each) => boxOf(each));
  const pieces = shards.items.map((shard) => {
    const fields = shard instanceof PickleObject && shard.global === SHARD ? fieldsOf(shard.state) : undefined;
    const [local, box] = [fields?.get("tensor"), boxOf(fields?.get("metadata"))];
    if (!(local instanceof PickleObject && isTensor(local)) || box === null)
      throw fail("a shard of it has no tensor, or no place");
    const view = tensorView(local, where);
    if (`${view.shape}` !== `${box.sizes}` || view.dtype !== dtype)
      throw fail(`a shard of ${dtype} [${box.sizes}] holds ${view.dtype} [${view.shape}]`);
    return { view, box: { offsets: box.offsets, sizes: box.sizes, from: box.offsets.map(() => 0) } };
  });
  const [rank, world] =
    group instanceof PickleObject ? [group.field("global_rank"), group.field("global_world_size")] : [];
  return {
    dtype,
    shape,
    pieces: pieces.filter(({ box }) => !box.sizes.includes(0)),
    spread: `${placed.length} shards`,
    rank: isSize(rank) ? rank : null,
    holders: placed.flatMap((box) => (box?.rank === undefined ? [] : [box.rank])),
    world: isSize(world) ? world : null,
  };
}

interface Placed {
  readonly offsets: readonly number[];
  readonly sizes: readonly number[];
  readonly rank: number | undefined;
}

function boxOf(value: PickleValue | undefined): Placed | null {
  if (!(value instanceof PickleObject) || !SHARD_METADATA.has(value.global)) return null;
  const fields = fieldsOf(value.state);
  const [offsets, sizes] = [fields?.get("shard_offsets"), fields?.get("shard_sizes")].map((list) =>
    list instanceof PickleList ? list.items : list,
  );
  if (!isSizes(offsets) || !isSizes(sizes) || offsets.length !== sizes.length) return null;
  const placement = fields?.get("placement");
  const rank = placement instanceof PickleObject ? placement.field("_rank") : undefined;
  return { offsets, sizes, rank: isSize(rank) ? rank : undefined };
}

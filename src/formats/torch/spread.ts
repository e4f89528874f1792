// Tensors that are spread over ranks, of any kind.
import type { Where } from "../io/refuse.ts";
import type { PickleObject } from "../pickle/value.ts";
import { dtensorPart, isDTensor } from "./dtensor.ts";
import type { RankPart } from "./rank-part.ts";
import { isShardedTensor, shardedTensorPart } from "./sharded-tensor.ts";

export const isSpread = (tensor: PickleObject): boolean => isDTensor(tensor) || isShardedTensor(tensor);

/** Null for a tensor that is not spread. @throws InputError for one whose part cannot be told */
export const rankPart = (tensor: PickleObject, where: Where): RankPart | null =>
  isDTensor(tensor) ? dtensorPart(tensor, where) : isShardedTensor(tensor) ? shardedTensorPart(tensor, where) : null;

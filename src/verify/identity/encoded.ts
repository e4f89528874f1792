// Codes and scales as they are stored, beside the values that they stand for.
import type { EncodedTensor } from "../../encodings/encoding.ts";
import type { TensorInfo } from "../../formats/checkpoint.ts";
import type { Model } from "../../model/model.ts";
import { hashTensor, type Steps } from "../../views/identity/hash.ts";
import { byName, rootOf, type TensorIdentity } from "../../views/identity/merkle.ts";
import type { Seal } from "./seal-data.ts";

interface Stored {
  /** Key in the checkpoint. */
  readonly key: string;
  /** As the layout spells it. */
  readonly name: string;
}

function storedOf({ encoded }: Pick<Model, "encoded">): Stored[] {
  const both = ([key, tensor]: readonly [string, EncodedTensor]): Stored[] => {
    const { codes, scales } = tensor.encoding.stored({ key, shape: tensor.shape });
    return [
      { key: tensor.codes, name: codes.key },
      { key: tensor.scales, name: scales.key },
    ];
  };
  return [...encoded].flatMap(both);
}

export const storedBytes = (model: Pick<Model, "encoded" | "checkpoint">): number =>
  storedOf(model).reduce((sum, { key }) => sum + infoOf(model, key).byteLength, 0);

/** Null where weights are stored plain. */
export function* hashStored(model: Pick<Model, "encoded" | "checkpoint">): Steps<Seal["encoded"]> {
  const tensors: TensorIdentity[] = [];
  for (const { key, name } of storedOf(model)) {
    const [own] = yield* hashTensor(model.checkpoint, infoOf(model, key));
    tensors.push({ ...own, name });
  }
  return tensors.length === 0 ? null : { root: rootOf(tensors), tensors: byName(tensors) };
}

function infoOf({ checkpoint }: Pick<Model, "checkpoint">, key: string): TensorInfo {
  const info = checkpoint.tensors.get(key);
  if (info === undefined) throw new RangeError(`no tensor ${JSON.stringify(key)}`);
  return info;
}

// Two tensors in each other's place. Their shapes are the same.
import { bytesOf } from "../../edit.ts";
import type { Sample } from "../../fault.ts";
import { type Kind, type Made, withTensors } from "../kind.ts";
import { keysLike } from "../names.ts";

/** The sample with two of its tensors exchanged. */
export const exchangedTensors = (sample: Sample, a: string, b: string): Made =>
  withTensors(sample, {
    [a]: { bytes: () => bytesOf(sample.source, b) },
    [b]: { bytes: () => bytesOf(sample.source, a) },
  });

/** Whether b has a's dtype and shape. */
export function fits({ source }: Sample, a: string, b: string): boolean {
  const [x, y] = [a, b].map((key) => source.tensors.get(key));
  return x !== undefined && y !== undefined && x.dtype === y.dtype && `${x.shape}` === `${y.shape}`;
}

/**
 * Another matrix of the same dtype and shape whose key has another word, or another expert's number, in one place. Layers
 * are not exchanged: which step reads a tensor would change with them.
 */
function partnerOf(sample: Sample, key: string): string | undefined {
  if (sample.source.tensors.get(key)!.shape.length < 2) return undefined;
  const words = key.split(".");
  const isPartner = (other: string): boolean => {
    const others = other.split(".");
    const differing = words.flatMap((word, i) => (word === others[i] ? [] : [i]));
    return others.length === words.length && differing.length === 1 && words[differing[0]! - 1] !== "layers";
  };
  return keysLike(sample, /./).find((other) => other !== key && fits(sample, key, other) && isPartner(other));
}

const swapped: Kind = {
  name: "tensors-swapped",
  code: "TENSORS_SWAPPED",
  about: "two tensors of one shape in each other's place: keys and values, gate and up, two experts",
  keepsShapes: true,
  places: (sample) => keysLike(sample, /./).filter((key) => partnerOf(sample, key) !== undefined),
  make: (sample, key) => exchangedTensors(sample, key, partnerOf(sample, key)!),
};

export const SWAPPED: readonly Kind[] = [swapped];

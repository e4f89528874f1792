// The 16-bit floats of training beside f32 weights: widened, and compared with what the weights round to.
import { bitsOf, type Dtype } from "../../base/dtype.ts";
import { bfloatToSingle, halfToSingle, singleToBfloat, singleToHalf } from "../../base/floats.ts";
import { refuse } from "../io/refuse.ts";
import type { JoinedTensor } from "./joined.ts";
import type { FileTensor } from "./states.ts";

/** Elements at once. */
const BLOCK = 1 << 15;
const narrow = new Uint16Array(BLOCK);
const rounded = new Uint16Array(BLOCK);
const wide = new Uint32Array(BLOCK);
/** Of so many elements. */
const bytesOf = (of: Uint16Array | Uint32Array, count: number, skipped = 0): Uint8Array =>
  new Uint8Array(of.buffer, skipped, count * of.BYTES_PER_ELEMENT - skipped);

/** 16-bit floats as F32, which keeps every value; others as they are. */
export function widened(tensor: JoinedTensor): JoinedTensor {
  const { dtype, shape } = tensor;
  if (dtype !== "BF16" && dtype !== "F16") return tensor;
  const widen = dtype === "BF16" ? bfloatToSingle : halfToSingle;
  return {
    dtype: "F32",
    shape,
    records: () => tensor.records(),
    read(begin, target) {
      for (let done = 0; done < target.length; ) {
        const first = Math.floor((begin + done) / 4);
        const count = Math.min(BLOCK, Math.ceil((begin + target.length) / 4) - first);
        tensor.read(2 * first, bytesOf(narrow, count));
        widen(narrow, wide, count);
        const skipped = begin + done - 4 * first;
        const bytes = bytesOf(wide, count, skipped).subarray(0, target.length - done);
        target.set(bytes, done);
        done += bytes.length;
      }
    },
  };
}

/** Whether weights of one dtype can be compared with what another file holds of them in another. */
export const canAgree = (own: Dtype, { dtype }: Pick<FileTensor, "dtype">): boolean =>
  own === "F32" && (dtype === "F32" || dtype === "BF16" || dtype === "F16");

/**
 * F32 weights that are compared, as they are read, with those that the model computed with: DeepSpeed rounds the one to the
 * other after each step. Reading throws InputError WEIGHTS_DISAGREE.
 */
export function agreeing(key: string, tensor: JoinedTensor, model: FileTensor): JoinedTensor {
  return {
    ...tensor,
    read(begin, target) {
      tensor.read(begin, target);
      const first = Math.ceil(begin / 4);
      const last = Math.floor((begin + target.length) / 4);
      for (let at = first; at < last; at += BLOCK) {
        const count = Math.min(BLOCK, last - at);
        bytesOf(wide, count).set(target.subarray(4 * at - begin, 4 * (at + count) - begin));
        const differs = disagreement(model, at, count);
        if (differs >= 0) throw disagree(key, model, at + differs);
      }
    },
  };
}

const found = new Uint32Array(BLOCK);

/** Index of the first of the elements in `wide` that the model holds otherwise; -1 where there is none. NaN is NaN. */
function disagreement({ dtype, data }: FileTensor, at: number, count: number): number {
  const width = bitsOf(dtype) / 8;
  if (dtype === "F32") {
    data.read(at * width, bytesOf(found, count));
    for (let i = 0; i < count; i += 1) if (found[i] !== wide[i]) return i;
    return -1;
  }
  data.read(at * width, bytesOf(narrow, count));
  (dtype === "BF16" ? singleToBfloat : singleToHalf)(wide, rounded, count);
  for (let i = 0; i < count; i += 1) if (narrow[i] !== rounded[i] && (wide[i]! & 0x7fffffff) <= 0x7f800000) return i;
  return -1;
}

const disagree = (tensor: string, { dtype, file }: FileTensor, element: number) =>
  refuse(
    { file, tensor },
    "WEIGHTS_DISAGREE",
    "the optimizer's f32 weights do not round to the model's: they are not of one save",
    {
      expected: `at element ${element}, what the f32 weight rounds to in ${dtype}`,
      found: "another value",
      help: `copy the folder of the step again; or take the weights that the model computed with: give ${file}`,
    },
  );

// What products add to their parameters, as tensors that are made as they are read: F32, by the names of the parameters.
import { elementCount } from "../base/dtype.ts";
import { isFloat } from "../base/floats.ts";
import type { Checkpoint, TensorInfo } from "../formats/checkpoint.ts";
import { cast } from "../views/cast.ts";
import { type TensorSource, tensorInfo } from "../views/tensor-source.ts";
import { type Factors, productRange } from "./product.ts";
import type { AddedBias, Form, Product } from "./products.ts";

export interface FittedProduct extends Product {
  readonly form: Form;
}

/** Factors that are kept: those of a layer's gate and up are read in turn. */
export const KEPT = 4;

export function deltaSource(
  adapter: Checkpoint,
  products: readonly FittedProduct[],
  biases: readonly AddedBias[] = [],
): TensorSource {
  const byTarget = new Map(products.map((product) => [product.target, product]));
  const biasOf = new Map(biases.map((bias) => [bias.target, bias]));
  const kept = new Map<string, Factors>();
  const factorsFor = (product: FittedProduct): Factors => {
    const known = kept.get(product.target);
    if (known !== undefined) return known;
    const [oldest] = kept.keys();
    if (kept.size >= KEPT && oldest !== undefined) kept.delete(oldest);
    const made = factorsOf(adapter, product);
    kept.set(product.target, made);
    return made;
  };
  const infos = [
    ...products.map(({ target, form }) => tensorInfo(target, "F32", form.shape)),
    ...biases.map(({ target, info }) => tensorInfo(target, "F32", info.shape)),
  ];
  return {
    tensors: new Map(infos.map((info) => [info.key, info])),
    read(key, begin, target) {
      const values = new Float32Array(target.length / 4);
      const product = byTarget.get(key);
      if (product === undefined) scaledRange(adapter, biasOf.get(key)!, begin / 4, values);
      else productRange(factorsFor(product), product.form.product, product.scale, begin / 4, values);
      target.set(new Uint8Array(values.buffer));
    },
  };
}

function scaledRange(adapter: Checkpoint, { info, scale }: AddedBias, begin: number, values: Float32Array): void {
  const all = singlesOf(adapter, info);
  const single = Math.fround(scale);
  for (let i = 0; i < values.length; i += 1) values[i] = all[begin + i]! * single;
}

/** All of a tensor of the adapter, in F32. */
export function singlesOf(adapter: Checkpoint, { key, dtype, shape, byteLength }: TensorInfo): Float32Array {
  const bytes = new Uint8Array(byteLength);
  adapter.read(key, 0, bytes);
  if (!isFloat(dtype)) throw new RangeError(`${key} is ${dtype}`);
  const single = dtype === "F32" ? bytes : cast(bytes, dtype, "F32");
  return new Float32Array(single.buffer, single.byteOffset, elementCount(shape));
}

/**
 * Of experts, A has the rows of one after those of the other, B a column of each in turn.
 *   huggingface/peft@v0.21.2:src/peft/tuners/lora/layer.py, `ParamWrapper.get_delta_weight`
 */
function factorsOf(adapter: Checkpoint, { pair, form, rank }: FittedProduct): Factors {
  const [a, b] = [singlesOf(adapter, pair.a), singlesOf(adapter, pair.b)];
  const { count } = form.product;
  const [inner, outer] = [pair.a.shape[1]!, pair.b.shape[0]!];
  // A is [expert, k, in] as it stands; B is [out, k, expert].
  const aAt = (e: number, k: number, i: number) => a[(e * rank + k) * inner + i]!;
  const bAt = (e: number, k: number, o: number) => b[(o * rank + k) * count + e]!;
  if (form.order === "out-in") return { left: count === 1 ? b : byRow(count, outer, rank, bAt), right: a };
  return { left: byRow(count, inner, rank, aAt), right: byRank(count, rank, outer, bAt) };
}

type At = (matrix: number, k: number, index: number) => number;

function byRow(count: number, rows: number, rank: number, at: At): Float32Array {
  const out = new Float32Array(count * rows * rank);
  let next = 0;
  for (let m = 0; m < count; m += 1)
    for (let p = 0; p < rows; p += 1) for (let k = 0; k < rank; k += 1) out[next++] = at(m, k, p);
  return out;
}

function byRank(count: number, rank: number, columns: number, at: At): Float32Array {
  const out = new Float32Array(count * rank * columns);
  let next = 0;
  for (let m = 0; m < count; m += 1)
    for (let k = 0; k < rank; k += 1) for (let q = 0; q < columns; q += 1) out[next++] = at(m, k, q);
  return out;
}

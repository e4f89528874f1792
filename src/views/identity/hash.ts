// SHA-256 of tensors, read once from end to end in bounded memory.
import { createHash, type Hash } from "node:crypto";
import type { Dtype } from "../../base/dtype.ts";
import { isFloat } from "../../base/floats.ts";
import type { TensorInfo } from "../../formats/checkpoint.ts";
import { castingSink } from "../cast.ts";
import type { TensorSource } from "../tensor-source.ts";
import type { TensorIdentity } from "./merkle.ts";

/** A multiple of every element's size. */
const BLOCK_BYTES = 1 << 20;

/** Work that yields the bytes read by each of its steps. */
export type Steps<T> = Generator<number, T, void>;

/** A tensor as it is, and as a conversion to each of `as` would cast it: all of one read. */
export function* hashTensor(
  source: TensorSource,
  info: TensorInfo,
  as: readonly Dtype[] = [],
): Steps<readonly [own: TensorIdentity, ...cast: TensorIdentity[]]> {
  const { key, byteLength, dtype } = info;
  const own = createHash("sha256");
  const casts = as.map((to) => castHash(dtype, to));
  const block = Buffer.allocUnsafeSlow(Math.min(BLOCK_BYTES, byteLength));
  for (let begin = 0; begin < byteLength; begin += block.length) {
    const bytes = block.subarray(0, Math.min(block.length, byteLength - begin));
    source.read(key, begin, bytes);
    own.update(bytes);
    for (const { update } of casts) update(bytes);
    yield bytes.length;
  }
  const identity = (type: Dtype, hash: Hash): TensorIdentity => {
    return { name: key, dtype: type, shape: info.shape, sha256: hash.digest("hex") };
  };
  return [identity(dtype, own), ...casts.map(({ to, hash }) => identity(to, hash))];
}

function castHash(from: Dtype, to: Dtype) {
  if (!isFloat(from) || !isFloat(to)) throw new RangeError(`no cast from ${from} to ${to}`);
  const hash = createHash("sha256");
  return { to, hash, update: castingSink((bytes) => hash.update(bytes), from, to) };
}

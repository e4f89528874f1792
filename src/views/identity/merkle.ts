// One hash of many tensors: a Merkle tree over what each of them is, as RFC 6962 builds it.
//   https://www.rfc-editor.org/rfc/rfc6962#section-2.1
import { createHash } from "node:crypto";
import type { Dtype } from "../../base/dtype.ts";

/** What one tensor is. */
export interface TensorIdentity {
  readonly name: string;
  /** As safetensors spells it. */
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** In hex, of the elements: little-endian, row-major. */
  readonly sha256: string;
}

/** RFC 6962 tells leaves from nodes by their first byte, so that no node passes for a leaf. */
const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

/** `name \n dtype \n d0,d1,… \n sha256 \n` in UTF-8. A name may hold a newline: the last three lines cannot. */
const leafText = ({ name, dtype, shape, sha256 }: TensorIdentity): string =>
  `${name}\n${dtype}\n${shape.join(",")}\n${sha256}\n`;

/** In hex. Leaves lie in the order of the names' bytes in UTF-8; of no tensors it is SHA-256 of nothing. */
export function rootOf(tensors: Iterable<TensorIdentity>): string {
  const leaves = byName(tensors).map((tensor) => sha256(LEAF, Buffer.from(leafText(tensor), "utf8")));
  return treeHash(leaves, 0, leaves.length).toString("hex");
}

/** In the order of the names' bytes in UTF-8, which is not that of UTF-16. */
export const byName = <T extends { readonly name: string }>(tensors: Iterable<T>): T[] =>
  [...tensors]
    .map((tensor) => ({ tensor, bytes: Buffer.from(tensor.name, "utf8") }))
    .sort((a, b) => Buffer.compare(a.bytes, b.bytes))
    .map(({ tensor }) => tensor);

/** Of the leaves from `begin` to `end`: the left part is the largest power of two below their number. */
function treeHash(leaves: readonly Buffer[], begin: number, end: number): Buffer {
  const count = end - begin;
  if (count === 0) return sha256();
  if (count === 1) return leaves[begin]!;
  const left = 2 ** Math.floor(Math.log2(count - 1));
  return sha256(NODE, treeHash(leaves, begin, begin + left), treeHash(leaves, begin + left, end));
}

export function sha256(...parts: readonly Uint8Array[]): Buffer {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
}

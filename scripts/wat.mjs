// Words of WebAssembly text that the scripts which write kernels have in common.

export const get = (name) => `(local.get $${name})`;
export const set = (name, value) => `(local.set $${name} ${value})`;
export const add = (a, b) => `(i32.add ${a} ${b})`;
export const constant = (n) => `(i32.const ${n})`;
export const range = (count) => Array.from({ length: count }, (_, i) => i);

/** Lanes of `bytes` bytes, alternately from the low (or high) halves of two vectors. */
export function interleave(a, b, bytes, high) {
  const lanes = 16 / bytes;
  const first = high ? lanes / 2 : 0;
  const picked = range(lanes).map((i) => first + (i >> 1) + (i % 2) * lanes);
  const bytesOf = picked.flatMap((lane) => range(bytes).map((k) => lane * bytes + k));
  return `(i8x16.shuffle ${bytesOf.join(" ")} ${get(a)} ${get(b)})`;
}

import type { Checkpoint } from "../checkpoint.ts";

/** All values of a tensor, in row-major order; null where there is none of that name and of dtype I64. */
export function readI64(file: Pick<Checkpoint, "tensors" | "read">, key: string): BigInt64Array | null {
  const info = file.tensors.get(key);
  if (info?.dtype !== "I64") return null;
  const values = new BigInt64Array(info.byteLength / BigInt64Array.BYTES_PER_ELEMENT);
  file.read(key, 0, new Uint8Array(values.buffer));
  return values;
}

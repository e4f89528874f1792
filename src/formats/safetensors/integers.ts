import type { Checkpoint } from "../checkpoint.ts";

/** All values of a tensor, in row-major order; null where there is none of that name and of dtype I64 or I32. */
export function readIntegerTensor(
  file: Pick<Checkpoint, "tensors" | "read">,
  key: string,
): BigInt64Array | Int32Array | null {
  const info = file.tensors.get(key);
  if (info?.dtype !== "I64" && info?.dtype !== "I32") return null;
  const values = info.dtype === "I64" ? new BigInt64Array(info.byteLength / 8) : new Int32Array(info.byteLength / 4);
  file.read(key, 0, new Uint8Array(values.buffer));
  return values;
}

// What a file is by its first bytes, whatever its name.
import { readBytes } from "./io/byte-source.ts";
import type { Folder } from "./io/folder.ts";

const HEAD_BYTES = 16;

/** The first 16 bytes of a file, or all of a shorter one. Throws what opening throws. */
export function headOf(folder: Folder, name: string): Buffer {
  const file = folder.open(name);
  try {
    return readBytes(file, 0, Math.min(HEAD_BYTES, file.byteLength));
  } finally {
    file.close();
  }
}

/** Length of the header, at most 100 MB, so that its upper half is zero; then the header. */
export const beginsSafetensors = (head: Buffer): boolean => head.subarray(4, 9).equals(Buffer.from("\0\0\0\0{"));

/** A zip's first local header, or the PROTO opcode (2 to 5) that begins a pickle. */
export const beginsTorch = (head: Buffer): boolean =>
  head.subarray(0, 4).equals(Buffer.from("PK\u0003\u0004")) || (head[0] === 0x80 && head[1]! >= 2 && head[1]! <= 5);

// What a file is by its first bytes, whatever its name.
import { closeSync, openSync, readSync } from "node:fs";

const HEAD_BYTES = 16;

/** The first 16 bytes, or all of a shorter file. The path must be that of a regular file: a pipe would be waited for. */
export function headOf(path: string): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  const file = openSync(path, "r");
  try {
    return head.subarray(0, readSync(file, head, 0, head.length, 0));
  } finally {
    closeSync(file);
  }
}

/** Length of the header, at most 100 MB, so that its upper half is zero; then the header. */
export const beginsSafetensors = (head: Buffer): boolean => head.subarray(4, 9).equals(Buffer.from("\0\0\0\0{"));

/** A zip's first local header, or the PROTO opcode (2 to 5) that begins a pickle. */
export const beginsTorch = (head: Buffer): boolean =>
  head.subarray(0, 4).equals(Buffer.from("PK\u0003\u0004")) || (head[0] === 0x80 && head[1]! >= 2 && head[1]! <= 5);

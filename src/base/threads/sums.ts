// Who else finds checksums of what lies in some memory: whoever reads there need not know of threads.
import type { LateCrc32 } from "../crc32.ts";

/** Null where it is quicker to do it at once. */
export type FindsCrc32 = (bytes: Uint8Array) => LateCrc32 | null;

const finders = new WeakMap<ArrayBufferLike, FindsCrc32>();

/** From now on, for bytes in that memory; null for nobody any more. */
export function offerCrc32(memory: ArrayBufferLike, finds: FindsCrc32 | null): void {
  if (finds === null) finders.delete(memory);
  else finders.set(memory, finds);
}

/** CRC-32 of bytes that stay as they are until whoever lent their memory lends it again; null where nobody else finds it. */
export const crc32Beside: FindsCrc32 = (bytes) => finders.get(bytes.buffer)?.(bytes) ?? null;

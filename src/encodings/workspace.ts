// Buffers that tensors are decoded and encoded in, one after the other: each with its own would leave them as garbage, and
// memory would follow from when that is collected.
import { elementCount } from "../base/dtype.ts";
import type { EncodedTensor } from "./encoding.ts";

/** Named buffers that grow to the largest use. Whoever takes one has it until the next one takes it. */
export class Workspace {
  private readonly buffers = new Map<string, ArrayBuffer>();

  bytes(name: string, length: number): Uint8Array<ArrayBuffer> {
    let buffer = this.buffers.get(name);
    if (buffer === undefined || buffer.byteLength < length) {
      buffer = new ArrayBuffer(length);
      this.buffers.set(name, buffer);
    }
    return new Uint8Array(buffer, 0, length);
  }

  words(name: string, length: number): Uint16Array<ArrayBuffer> {
    return new Uint16Array(this.bytes(name, 2 * length).buffer, 0, length);
  }

  floats(name: string, length: number): Float32Array<ArrayBuffer> {
    return new Float32Array(this.bytes(name, 4 * length).buffer, 0, length);
  }
}

/** Bytes of the scales of the tensor that has most of them. */
export function largestScales(tensors: Iterable<EncodedTensor>): number {
  let most = 0;
  for (const tensor of tensors) {
    const { dtype, shape } = tensor.encoding.stored(tensor).scales;
    most = Math.max(most, elementCount(shape) * (dtype === "U8" ? 1 : 4));
  }
  return most;
}

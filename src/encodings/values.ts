// Values of codes, each computed by itself.
import type { EncodedTensor } from "./encoding.ts";
import { type Decoded, storeFloats } from "./floats.ts";
import type { Workspace } from "./workspace.ts";

export class Values {
  private readonly values: Float32Array;
  private readonly scratch: Uint16Array;

  /** @param count most values between two calls of `store` */
  constructor(
    private readonly tensor: EncodedTensor,
    private readonly dtype: Decoded,
    private readonly scales: Float32Array | Uint8Array,
    private readonly made: Uint8Array,
    workspace: Workspace,
    count: number,
  ) {
    this.values = workspace.floats("values", count);
    this.scratch = workspace.words("words", count);
  }

  static bytesOf(count: number): number {
    return count * (Float32Array.BYTES_PER_ELEMENT + Uint16Array.BYTES_PER_ELEMENT);
  }

  /** `codes[from, to)`, all under one scale and one a byte. */
  lookUp(codes: Uint8Array, scaleIndex: number, from: number, to: number): void {
    this.tensor.encoding.decode(codes, from, this.scales[scaleIndex]!, this.values, from, to);
  }

  /** The first `count` values, once all of them are there: storing a few at a time takes longer. */
  store(count: number): void {
    storeFloats(this.dtype, this.values.subarray(0, count), this.made, 0, this.scratch);
  }
}

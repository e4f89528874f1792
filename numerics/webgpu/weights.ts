// Weights as they lie in the checkpoint, read by range and laid out for the device.
import { FLOAT_BYTES, type Float, valuesFromBits } from "../../src/base/floats.ts";
import type { WeightSource } from "../backend.ts";
import { storedAs } from "../js/decode.ts";
import type { Packing } from "./kernels/gemm.ts";

/** A contiguous row-major part of a weight. */
export interface WeightView {
  readonly source: WeightSource;
  /** First element. */
  readonly begin: number;
}

/**
 * How a weight is stored on the device: bf16 as it is; f16 and f32 as f32, exactly; f64 rounded to f32.
 * @throws InputError DTYPE_NOT_COMPUTABLE
 */
export function packingOf(source: WeightSource): Packing {
  return storedAs(source) === "BF16" ? "bf16" : "f32";
}

/** Rows of `width` elements that become rows of `pitch` ≥ `width` elements, zeros behind. */
export interface RowLayout {
  readonly rows: number;
  readonly width: number;
  readonly pitch: number;
  readonly packing: Packing;
}

/** Reads elements and converts them; keeps one buffer for the stored bytes. */
export class WeightReader {
  #stored = new ArrayBuffer(0);

  /** Bytes kept between calls. */
  get heldBytes(): number {
    return this.#stored.byteLength;
  }

  /** f32 of the elements from `first` on, as many as `target` has room for. */
  readFloats(view: WeightView, first: number, target: Uint8Array): void {
    const width = target.byteLength / 4;
    this.read(view, first, { rows: 1, width, pitch: width, packing: "f32" }, target);
  }

  /** Rows of a view from its element `first` on. `target` begins at a multiple of 4 bytes of its buffer. */
  read({ source, begin }: WeightView, first: number, layout: RowLayout, target: Uint8Array): void {
    const { rows, width, pitch, packing } = layout;
    const dtype = storedAs(source);
    const size = FLOAT_BYTES[dtype];
    const bytes = rows * width * size;
    const isStoredAlike = dtype === (packing === "bf16" ? "BF16" : "F32");
    if (pitch === width && isStoredAlike) {
      source.read((begin + first) * size, target.subarray(0, bytes));
      return;
    }
    if (this.#stored.byteLength < bytes) this.#stored = new ArrayBuffer(bytes);
    source.read((begin + first) * size, new Uint8Array(this.#stored, 0, bytes));
    const [from, to] =
      packing === "bf16"
        ? [
            new Uint16Array(this.#stored, 0, rows * width),
            new Uint16Array(target.buffer, target.byteOffset, rows * pitch),
          ]
        : [this.#floats(dtype, rows * width), new Float32Array(target.buffer, target.byteOffset, rows * pitch)];
    if (pitch !== width) to.fill(0);
    for (let row = 0; row < rows; row++) to.set(from.subarray(row * width, (row + 1) * width), row * pitch);
  }

  #floats(dtype: Float, count: number): Float32Array | Float64Array {
    if (dtype === "F32") return new Float32Array(this.#stored, 0, count);
    if (dtype === "F64") return new Float64Array(this.#stored, 0, count);
    const out = new Float32Array(count);
    valuesFromBits(dtype, new Uint16Array(this.#stored, 0, count), out);
    return out;
  }
}

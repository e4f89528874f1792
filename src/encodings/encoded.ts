// Logical tensors seen as codes and scales, encoded as they are read.
import type { Checkpoint, TensorInfo } from "../formats/checkpoint.ts";
import { bytesPerElement, elementCount } from "../formats/dtype.ts";
import type { EncodedTensor } from "./encoding.ts";
import { loadFloats } from "./floats.ts";

type Source = Pick<Checkpoint, "tensors" | "read">;

/** Scales that a decoded checkpoint once had, by their stored key; from its record. */
export type KeptScales = (key: string) => Float32Array | Uint8Array | null;

export interface EncodingCounts {
  /** Groups whose kept scale gives their values back exactly, and groups that got the canonical one. */
  kept: number;
  canonical: number;
}

export interface EncodedSource extends Source {
  /** Of what was read so far. */
  readonly counts: EncodingCounts;
}

/** Elements of a logical tensor that are held at a time, at least one row of scales. */
const WINDOW = 1 << 20;

/** `tensors` are logical ones of the source; `kept` gives scales to use where they still fit. */
export function encodedSource(source: Source, tensors: readonly EncodedTensor[], kept: KeptScales): EncodedSource {
  const byLogical = new Map(tensors.map((tensor) => [tensor.key, tensor]));
  const stored = new Map<string, { readonly tensor: EncodedTensor; readonly part: "codes" | "scales" }>();
  const infos = new Map<string, TensorInfo>();
  for (const info of source.tensors.values()) {
    const tensor = byLogical.get(info.key);
    if (tensor === undefined) {
      infos.set(info.key, info);
      continue;
    }
    const { codes, scales } = tensor.encoding.stored(tensor);
    infos.set(codes.key, codes).set(scales.key, scales);
    stored.set(codes.key, { tensor, part: "codes" }).set(scales.key, { tensor, part: "scales" });
  }
  const counts = { kept: 0, canonical: 0 };
  const counted = new Set<EncodedTensor>();
  let current: Encoder | null = null;
  return {
    tensors: infos,
    counts,
    read(key, begin, target) {
      const entry = stored.get(key);
      if (entry === undefined) {
        source.read(key, begin, target);
        return;
      }
      if (current?.tensor !== entry.tensor) {
        current = new Encoder(source, entry.tensor, kept);
        if (!counted.has(entry.tensor)) {
          counts.kept += current.kept;
          counts.canonical += current.canonical;
        }
        counted.add(entry.tensor);
      }
      const bytes = entry.part === "scales" ? current.scaleBytes : null;
      if (bytes === null) current.readCodes(begin, target);
      else target.set(bytes.subarray(begin, begin + target.length));
    },
  };
}

class Encoder {
  kept = 0;
  canonical = 0;
  private readonly width: number;
  private readonly rows: number;
  private readonly scales: Float32Array | Uint8Array;

  constructor(
    private readonly source: Source,
    readonly tensor: EncodedTensor,
    kept: KeptScales,
  ) {
    const { shape, encoding } = tensor;
    this.width = shape.at(-1)!;
    this.rows = elementCount(shape.slice(0, -1));
    const count = elementCount(encoding.stored(tensor).scales.shape);
    this.scales = encoding.scaleDtype === "U8" ? new Uint8Array(count) : new Float32Array(count);
    const before = kept(encoding.stored(tensor).scales.key);
    this.settle(before?.length === count ? before : null);
  }

  get scaleBytes(): Uint8Array {
    return new Uint8Array(this.scales.buffer);
  }

  readCodes(begin: number, target: Uint8Array): void {
    const { codesPerByte } = this.tensor.encoding;
    const first = begin * codesPerByte;
    const count = target.length * codesPerByte;
    for (let done = 0; done < count; done += WINDOW) {
      const size = Math.min(WINDOW, count - done);
      this.encode(first + done, this.values(first + done, size), target.subarray(done / codesPerByte));
    }
  }

  private encode(first: number, values: Float32Array, target: Uint8Array): void {
    const { encoding, shape } = this.tensor;
    for (let done = 0; done < values.length; ) {
      const [row, column] = [Math.floor((first + done) / this.width), (first + done) % this.width];
      const scale = this.scales[encoding.scaleIndex(shape, row, column)]!;
      const end = Math.min(values.length, done + encoding.run(shape, column));
      for (; done < end; done++) {
        const code = encoding.code(values[done]!, scale);
        if (encoding.codesPerByte === 1) target[done] = code;
        else target[done >> 1] = done & 1 ? target[done >> 1]! | (code << 4) : code;
      }
    }
  }

  private values(first: number, count: number): Float32Array {
    const { key } = this.tensor;
    const { dtype } = this.source.tensors.get(key)!;
    const size = bytesPerElement(dtype) ?? 1;
    const bytes = new Uint8Array(count * size);
    this.source.read(key, first * size, bytes);
    return loadFloats(dtype, key, bytes);
  }

  /** One pass over the values: the scale of every group, kept where it gives the same values back. */
  private settle(before: Float32Array | Uint8Array | null): void {
    const { encoding, shape, key } = this.tensor;
    const amax = new Float32Array(this.scales.length);
    const isKept = new Uint8Array(this.scales.length).fill(before === null ? 0 : 1);
    const same = roundTrip(this.source.tensors.get(key)!.dtype);
    const band = Math.max(1, Math.floor(WINDOW / this.width / encoding.rowsPerScale)) * encoding.rowsPerScale;
    for (let row = 0; row < this.rows; row += band) {
      const values = this.values(row * this.width, Math.min(band, this.rows - row) * this.width);
      for (let done = 0; done < values.length; ) {
        const at = encoding.scaleIndex(shape, row + Math.floor(done / this.width), done % this.width);
        const end = Math.min(values.length, done + encoding.run(shape, done % this.width));
        const old = before?.[at] ?? 0;
        for (; done < end; done++) {
          const value = values[done]!;
          amax[at] = Math.max(amax[at]!, Math.abs(value));
          if (isKept[at] === 1 && !same(encoding.value(encoding.code(value, old), old), value)) isKept[at] = 0;
        }
      }
    }
    for (let at = 0; at < this.scales.length; at++) {
      this.scales[at] = isKept[at] === 1 ? before![at]! : encoding.scaleOf(amax[at]!);
      if (isKept[at] === 1) this.kept++;
      else this.canonical++;
    }
  }
}

const word = new Float32Array(1);
const bits = new Uint32Array(word.buffer);

/** Whether a decoded value, stored as `dtype`, is the value at hand. */
function roundTrip(dtype: string): (decoded: number, value: number) => boolean {
  if (dtype !== "BF16") return (decoded, value) => Object.is(Math.fround(decoded), value);
  return (decoded, value) => {
    word[0] = decoded;
    bits[0] = ((bits[0]! + 0x7fff + ((bits[0]! >>> 16) & 1)) >>> 16) << 16;
    return Object.is(word[0], value);
  };
}

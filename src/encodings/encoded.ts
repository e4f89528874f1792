// Codes and scales in place of logical tensors, encoded as they are read.

import { elementCount } from "../base/dtype.ts";
import { InputError } from "../base/errors.ts";
import { FLOAT_BYTES } from "../base/floats.ts";
import type { Checkpoint, TensorInfo } from "../formats/checkpoint.ts";
import type { EncodedTensor } from "./encoding.ts";
import { type Decoded, encodable, loadFloats, roundFloats } from "./floats.ts";
import { largestScales, Workspace } from "./workspace.ts";

type Source = Pick<Checkpoint, "tensors" | "read">;

/** Scales that a decoded checkpoint once had, by their stored key; from its record. */
export type KeptScales = (key: string) => Float32Array | Uint8Array | null;

/** Scales as they are stored: exponents (U8) or factors (F32); null where there are none of that key. */
export function readScales(source: Source, key: string): Float32Array | Uint8Array | null {
  const info = source.tensors.get(key);
  if (info === undefined) return null;
  const bytes = new Uint8Array(info.byteLength);
  source.read(key, 0, bytes);
  return info.dtype === "U8" ? bytes : new Float32Array(bytes.buffer);
}

export interface EncodingCounts {
  /** Groups whose kept scale gives their values back exactly, and groups that got the canonical one. */
  kept: number;
  canonical: number;
}

export interface EncodedSource extends Source {
  /** Memory that encoding takes beside the buffers of the conversion. */
  readonly workBytes: number;
  /** Of what was read so far. */
  readonly counts: EncodingCounts;
}

/** Elements of a logical tensor that are held at a time, at least one row of scales. */
const WINDOW = 1 << 20;

/**
 * Rows that share no scale with others, and their scales. They get theirs when the first of them is read: what a read takes
 * then follows from what it asks for, not from the size of the tensor.
 */
interface Band {
  readonly rows: number;
  readonly scales: number;
}

function bandOf(tensor: EncodedTensor): Band {
  const { shape, encoding } = tensor;
  const { rowsPerScale } = encoding;
  const rowsOfScales = Math.max(1, Math.floor(WINDOW / Math.max(1, shape.at(-1)!) / rowsPerScale));
  const all = Math.ceil(elementCount(shape.slice(0, -1)) / rowsPerScale);
  const across = all === 0 ? 0 : elementCount(encoding.stored(tensor).scales.shape) / all;
  return { rows: rowsOfScales * rowsPerScale, scales: Math.min(all, rowsOfScales) * across };
}

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
  const counted = new Map<EncodedTensor, Set<number>>();
  let current: Encoder | null = null;
  const workspace = new Workspace();
  return {
    tensors: infos,
    workBytes: workBytesOf(tensors),
    counts,
    read(key, begin, target) {
      const entry = stored.get(key);
      if (entry === undefined) {
        source.read(key, begin, target);
        return;
      }
      if (current?.tensor !== entry.tensor) {
        const { tensor } = entry;
        const bands = counted.get(tensor) ?? new Set();
        counted.set(tensor, bands);
        current = new Encoder(source, tensor, kept, workspace, (band, settled) => {
          if (bands.has(band)) return;
          bands.add(band);
          counts.kept += settled.kept;
          counts.canonical += settled.canonical;
        });
      }
      if (entry.part === "scales") current.readScales(begin, target);
      else current.readCodes(begin, target);
    },
  };
}

/** Values before and after they are widened; scales, kept ones before and after a collection, and what is known of each. */
function workBytesOf(tensors: readonly EncodedTensor[]): number {
  const most = Math.max(
    WINDOW,
    ...new Set(tensors.map(({ encoding, shape }) => shape.at(-1)! * encoding.rowsPerScale)),
  );
  const groups = Math.max(0, ...new Set(tensors.map((tensor) => bandOf(tensor).scales)));
  return 8 * most + 3 * largestScales(tensors) + 5 * groups;
}

class Encoder {
  private readonly width: number;
  private readonly rows: number;
  private readonly band: Band;
  private readonly scales: Float32Array | Uint8Array;
  private readonly before: Float32Array | Uint8Array | null;
  private readonly dtype: Decoded;
  private readonly isFaithful: Trial;
  private readonly settled = new Set<number>();
  /** The band whose values are at hand. */
  private held: { readonly band: number; readonly values: Float32Array } | null = null;

  constructor(
    private readonly source: Source,
    readonly tensor: EncodedTensor,
    kept: KeptScales,
    private readonly workspace: Workspace,
    private readonly onSettled: (band: number, counts: Readonly<EncodingCounts>) => void,
  ) {
    const { shape, encoding } = tensor;
    this.dtype = encodable(source.tensors.get(tensor.key)!.dtype, tensor.key);
    this.width = shape.at(-1)!;
    this.rows = elementCount(shape.slice(0, -1));
    this.band = bandOf(tensor);
    const count = elementCount(encoding.stored(tensor).scales.shape);
    this.scales = encoding.scaleDtype === "U8" ? workspace.bytes("scales", count) : workspace.floats("scales", count);
    const before = kept(encoding.stored(tensor).scales.key);
    this.before = before?.length === count ? before : null;
    this.isFaithful = new Trial(tensor, this.dtype);
  }

  readScales(begin: number, target: Uint8Array): void {
    const { buffer, byteLength, BYTES_PER_ELEMENT } = this.scales;
    const size = this.band.scales * BYTES_PER_ELEMENT;
    const end = begin + target.length;
    for (let band = Math.floor(begin / size); band * size < end; band++) this.settle(band);
    target.set(new Uint8Array(buffer, 0, byteLength).subarray(begin, end));
  }

  readCodes(begin: number, target: Uint8Array): void {
    const { codesPerByte } = this.tensor.encoding;
    const size = this.band.rows * this.width;
    const end = (begin + target.length) * codesPerByte;
    for (let first = begin * codesPerByte; first < end; ) {
      const band = Math.floor(first / size);
      const next = Math.min(end, (band + 1) * size);
      this.settle(band);
      const values =
        this.held?.band === band
          ? this.held.values.subarray(first - band * size, next - band * size)
          : this.values(first, next - first);
      this.encode(first, values, target.subarray(first / codesPerByte - begin));
      first = next;
    }
  }

  private encode(first: number, values: Float32Array, target: Uint8Array): void {
    const { encoding, shape } = this.tensor;
    for (let done = 0; done < values.length; ) {
      const [row, column] = [Math.floor((first + done) / this.width), (first + done) % this.width];
      const scale = this.scales[encoding.scaleIndex(shape, row, column)]!;
      const end = Math.min(values.length, done + encoding.run(shape, column));
      encoding.encode(values, done, end, scale, target, done);
      done = end;
    }
  }

  private values(first: number, count: number): Float32Array {
    const { key } = this.tensor;
    const size = FLOAT_BYTES[this.dtype];
    this.held = null;
    const bytes = this.workspace.bytes("stored", count * size);
    this.source.read(key, first * size, bytes);
    return loadFloats(this.dtype, bytes, this.workspace.floats("values", this.dtype === "F32" ? 0 : count));
  }

  /** One pass over the values of a band: the scale of every group, kept where it gives the same values back. */
  private settle(band: number): void {
    if (this.settled.has(band)) return;
    const { tensor, width, before, scales, isFaithful } = this;
    const { encoding, shape } = tensor;
    const row = band * this.band.rows;
    const from = band * this.band.scales;
    const count = Math.min(this.band.scales, scales.length - from);
    const amax = this.workspace.floats("amax", count).fill(0);
    const isKept = this.workspace.bytes("kept", count).fill(before === null ? 0 : 1);
    const values = this.values(row * width, Math.min(this.band.rows, this.rows - row) * width);
    for (let done = 0; done < values.length; ) {
      const at = encoding.scaleIndex(shape, row + Math.floor(done / width), done % width);
      const end = Math.min(values.length, done + encoding.run(shape, done % width));
      const group = at - from;
      amax[group] = largest(values, done, end, amax[group]!, encoding.hasNaN);
      if (isKept[group] === 1 && !isFaithful.run(values, done, end, before![at]!)) isKept[group] = 0;
      done = end;
    }
    for (let group = 0; group < count; group++) {
      const isFit = isKept[group] === 1;
      if (!isFit && !(amax[group]! < Infinity)) throw notFinite(tensor);
      scales[from + group] = isFit ? before![from + group]! : encoding.scaleOf(amax[group]!);
    }
    const kept = isKept.reduce((sum, one) => sum + one, 0);
    this.settled.add(band);
    this.held = { band, values };
    this.onSettled(band, { kept, canonical: count - kept });
  }
}

/** Whether values stay the same when they are encoded, decoded and stored again. All NaNs count as equal. */
class Trial {
  private readonly codes: Uint8Array;
  private readonly decoded: Float32Array;
  private readonly bits: Uint32Array;
  private readonly words: Uint16Array;

  constructor(
    private readonly tensor: EncodedTensor,
    private readonly dtype: Decoded,
  ) {
    const width = tensor.shape.at(-1)!;
    this.codes = new Uint8Array(width);
    this.decoded = new Float32Array(width);
    this.bits = new Uint32Array(this.decoded.buffer);
    this.words = new Uint16Array(width);
  }

  run(values: Float32Array, from: number, to: number, scale: number): boolean {
    const { encoding } = this.tensor;
    const { codes, decoded, bits } = this;
    const count = to - from;
    encoding.encode(values, from, to, scale, codes, 0);
    encoding.decode(codes, 0, scale, decoded, 0, count);
    roundFloats(this.dtype, bits, this.words, count);
    const given = new Uint32Array(values.buffer, values.byteOffset, values.length);
    for (let i = 0; i < count; i++) {
      if (bits[i] !== given[from + i] && !(Number.isNaN(values[from + i]) && Number.isNaN(decoded[i]))) return false;
    }
    return true;
  }
}

/** The largest magnitude; infinite for a NaN that no code stands for. */
function largest(values: Float32Array, from: number, to: number, before: number, hasNaN: boolean): number {
  let most = before;
  for (let i = from; i < to; i++) {
    const size = Math.abs(values[i]!);
    if (size > most) most = size;
    else if (!hasNaN && Number.isNaN(size)) most = Infinity;
  }
  return most;
}

const notFinite = ({ key, encoding }: EncodedTensor): InputError =>
  new InputError("ENCODING_NOT_FINITE", `"${key}" has values that ${encoding.name} has no codes for`, {
    tensor: key,
    expected: "finite values",
    found: encoding.hasNaN ? "an infinite one" : "an infinite one, or NaN",
    help: "see where with validate; write the model plain with --encoding none",
  });

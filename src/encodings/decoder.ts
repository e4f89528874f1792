// Decodes a tensor by tables: what each byte of codes stands for under a scale, in the type that is asked for. Where a scale stands
// for thousands of codes, or is one of few, making its table costs less than computing each value; else each is computed.
import { FLOAT_BYTES } from "../base/floats.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import type { EncodedTensor } from "./encoding.ts";
import { type Decoded, storeFloats } from "./floats.ts";
import { Values } from "./values.ts";
import { largestScales, type Workspace } from "./workspace.ts";

/** Elements decoded at a time. */
const WINDOW = 1 << 16;
/** What a byte can be. */
const BYTES = 256;
/** Codes under a scale from which on its table pays: 128 took 18 ns a code with tables and 7 without, 1024 took 4 and 8. */
const TABLE_FROM = 1024;

export class Decoder {
  private readonly scales: Float32Array | Uint8Array;
  private readonly codes: Uint8Array;
  private readonly made: Uint8Array;
  private readonly tables: Tables | Values;

  constructor(
    private readonly source: Pick<Checkpoint, "tensors" | "read">,
    private readonly tensor: EncodedTensor,
    private readonly dtype: Decoded,
    workspace: Workspace,
  ) {
    this.codes = workspace.bytes("codes", WINDOW + 1);
    this.made = workspace.bytes("made", (WINDOW + 2) * FLOAT_BYTES[dtype]);
    this.scales = readScales(source, tensor, workspace);
    this.tables = hasTables(tensor)
      ? new Tables(tensor, dtype, this.scales, this.made, workspace)
      : new Values(tensor, dtype, this.scales, this.made, workspace, WINDOW);
  }

  read(begin: number, target: Uint8Array): void {
    const size = FLOAT_BYTES[this.dtype];
    if (begin % size !== 0 || target.length % size !== 0) throw new RangeError("a range that cuts an element");
    const first = begin / size;
    const count = target.length / size;
    for (let done = 0; done < count; done += WINDOW) {
      const n = Math.min(WINDOW, count - done);
      target.set(this.decode(first + done, n), done * size);
    }
  }

  /** In whole bytes of codes; what is asked for of it. */
  private decode(first: number, count: number): Uint8Array {
    const { encoding, codes: key, shape } = this.tensor;
    const { codesPerByte } = encoding;
    const begin = Math.floor(first / codesPerByte);
    const codes = this.codes.subarray(0, Math.ceil((first + count) / codesPerByte) - begin);
    this.source.read(key, begin, codes);
    const { tables, made } = this;
    if (encoding.group !== undefined && tables instanceof Tables)
      tables.lookUpGroups(codes, begin, encoding.group / codesPerByte);
    else {
      const width = shape.at(-1)!;
      for (let at = 0; at < codes.length; ) {
        const [row, column] = [Math.floor((begin + at) / width), (begin + at) % width];
        const end = Math.min(codes.length, at + encoding.run(shape, column));
        tables.lookUp(codes, encoding.scaleIndex(shape, row, column), at, end);
        at = end;
      }
      if (tables instanceof Values) tables.store(codes.length);
    }
    const size = FLOAT_BYTES[this.dtype];
    const skipped = first - begin * codesPerByte;
    return made.subarray(skipped * size, (skipped + count) * size);
  }
}

type Words = Uint16Array | Uint32Array;

/** Tables of scales, each in a place of its own: by what the scale is where it is a byte, else by where it lies in its row. */
class Tables {
  private readonly entries: Words;
  /** Words of what a byte stands for. */
  private readonly wordsPerByte: number;
  /** Number of the scale that each place has; −1 of none. */
  private readonly holds: Int32Array;
  private readonly values: Float32Array;
  private readonly scratch: Uint16Array;
  private readonly made: Words;

  constructor(
    private readonly tensor: EncodedTensor,
    private readonly dtype: Decoded,
    private readonly scales: Float32Array | Uint8Array,
    made: Uint8Array,
    workspace: Workspace,
  ) {
    const { codesPerByte } = tensor.encoding;
    const places = placesOf(tensor);
    const entryBytes = codesPerByte * FLOAT_BYTES[dtype];
    this.entries = inWords(workspace.bytes("tables", places * BYTES * entryBytes), entryBytes);
    this.wordsPerByte = entryBytes / this.entries.BYTES_PER_ELEMENT;
    this.holds = new Int32Array(places).fill(-1);
    this.made = inWords(made, entryBytes);
    this.values = workspace.floats("values", BYTES * codesPerByte);
    this.scratch = workspace.words("words", BYTES * codesPerByte);
  }

  /** `codes[from, to)`, all under one scale. */
  lookUp(codes: Uint8Array, scaleIndex: number, from: number, to: number): void {
    const place = scaleIndex % this.holds.length;
    const base = this.tableOf(place, scaleIndex, this.scales[scaleIndex]!);
    look(this.entries, base, codes, from, to, this.made, this.wordsPerByte);
  }

  /** Codes from byte `begin` of the tensor on; every `groupBytes` have the next scale. */
  lookUpGroups(codes: Uint8Array, begin: number, groupBytes: number): void {
    const { scales, entries, wordsPerByte, made } = this;
    for (let at = 0; at < codes.length; ) {
      const group = Math.floor((begin + at) / groupBytes);
      const end = Math.min(codes.length, (group + 1) * groupBytes - begin);
      const scale = scales[group]!;
      look(entries, this.tableOf(scale, scale, scale), codes, at, end, made, wordsPerByte);
      at = end;
    }
  }

  /** Where the table of a scale begins, made if it is not there. */
  private tableOf(place: number, number: number, scale: number): number {
    const words = BYTES * this.wordsPerByte;
    if (this.holds[place] === number) return place * words;
    const { entries, values } = this;
    const { encoding } = this.tensor;
    encoding.decode(EVERY_BYTE, 0, scale, values, 0, values.length);
    const table = entries.subarray(place * words, (place + 1) * words);
    storeFloats(this.dtype, values, new Uint8Array(table.buffer, table.byteOffset, table.byteLength), 0, this.scratch);
    this.holds[place] = number;
    return place * words;
  }
}

const EVERY_BYTE = Uint8Array.from({ length: BYTES }, (_, byte) => byte);

const inWords = ({ buffer, byteLength }: Uint8Array<ArrayBufferLike>, bytes: number): Words =>
  bytes === 2 ? new Uint16Array(buffer, 0, byteLength / 2) : new Uint32Array(buffer, 0, Math.floor(byteLength / 4));

/** A loop for each width: one for all of them would ask for it at every element. */
function look(
  table: Words,
  base: number,
  codes: Uint8Array,
  from: number,
  to: number,
  made: Words,
  wordsPerByte: number,
): void {
  if (wordsPerByte === 2) lookPairs(table, base, codes, from, to, made);
  else if (table instanceof Uint16Array) lookHalves(table, base, codes, from, to, made);
  else lookWhole(table, base, codes, from, to, made);
}

function lookHalves(table: Words, base: number, codes: Uint8Array, from: number, to: number, made: Words): void {
  for (let i = from; i < to; i++) made[i] = table[base + codes[i]!]!;
}

function lookWhole(table: Words, base: number, codes: Uint8Array, from: number, to: number, made: Words): void {
  for (let i = from; i < to; i++) made[i] = table[base + codes[i]!]!;
}

function lookPairs(table: Words, base: number, codes: Uint8Array, from: number, to: number, made: Words): void {
  for (let i = from; i < to; i++) {
    const at = base + 2 * codes[i]!;
    made[2 * i] = table[at]!;
    made[2 * i + 1] = table[at + 1]!;
  }
}

/** Whether scales are bytes, of which there are few, or stand for many codes. */
function hasTables({ encoding, shape }: EncodedTensor): boolean {
  const rows = Math.min(encoding.rowsPerScale, shape[0]!);
  return encoding.scaleDtype === "U8" || rows * encoding.run(shape, 0) >= TABLE_FROM;
}

/** As many as there are bytes, or scales in a row of them. */
const placesOf = ({ encoding, ...tensor }: EncodedTensor): number =>
  encoding.scaleDtype === "U8" ? BYTES : Math.max(1, encoding.stored(tensor).scales.shape.at(-1)!);

/** All scales of a tensor: a 16,384th of its values, or a 32nd. */
function readScales(
  source: Pick<Checkpoint, "tensors" | "read">,
  { scales, encoding }: EncodedTensor,
  workspace: Workspace,
): Float32Array | Uint8Array {
  const bytes = workspace.bytes("scales", source.tensors.get(scales)!.byteLength);
  source.read(scales, 0, bytes);
  return encoding.scaleDtype === "U8" ? bytes : new Float32Array(bytes.buffer, 0, bytes.length / 4);
}

/** Memory that decoding takes beside the buffers of the conversion. */
export function decodingBytes(tensors: Iterable<EncodedTensor>): number {
  const all = [...tensors];
  const tables = all.map((tensor) =>
    hasTables(tensor) ? placesOf(tensor) * BYTES * 4 * tensor.encoding.codesPerByte : Values.bytesOf(WINDOW),
  );
  return 5 * WINDOW + tables.reduce((most, bytes) => Math.max(most, bytes), 0) + largestScales(all);
}

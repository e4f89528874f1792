// Executes the moves of a table: fills ranges of a target tensor from its source tensors, in bounded memory.

import { bitsOf, type Dtype, elementCount } from "../base/dtype.ts";
import type { Blocks } from "../base/threads/blocks.ts";
import type { Move } from "../table/move.ts";
import {
  type Axis,
  alignedEnd,
  type Block,
  blockOf,
  clip,
  copyBlock,
  forEachOffset,
  inWords,
  isTransposed,
  itemsOf,
  periodOf,
  spanOf,
} from "./gather-blocks.ts";
import { TransposingMemory } from "./transpose.ts";

/** Fills `target` with the bytes from `begin` on of a source tensor, in the dtype of the target tensor. */
export type ReadBytes = (key: string, begin: number, target: Uint8Array) => void;
/** Takes bytes in ascending order; they are overwritten after it returns. */
export type Sink = (bytes: Uint8Array) => void;

/**
 * The default. A move touches only the memory that it needs: a plain copy 1 MiB, a RoPE permutation a head, a transpose
 * all.
 */
export const DEFAULT_BUFFER_BYTES = 2 ** 25;

/** From this size on reads and writes run at full speed, and the data is still in the L2 cache when it is written. */
const CHUNK_BYTES = 2 ** 20;
/** Runs of this length are read one by one, straight to where they belong. */
const STRAIGHT_BYTES = 2 ** 16;
/** Reading over a gap of this length costs no more than a second read. */
const GAP_BYTES = 2 ** 14;
/** What is taken at once for small tensors. */
const LEAST_BYTES = 2 ** 12;

/** A piece of a move, with what is found once. */
interface Piece extends Block {
  readonly key: string;
  /** One past its last target element. */
  readonly end: number;
  /** Its innermost run is long on both sides, so that any cut of the target is as good as another. */
  readonly straight: boolean;
}

/** One window of the target tensor. */
interface Window {
  readonly bytes: Uint8Array;
  /** First target element in it. */
  readonly at: number;
  readonly itemBytes: number;
  readonly read: ReadBytes;
}

interface Prepared {
  readonly itemBytes: number;
  /** By target offset. */
  readonly pieces: readonly Piece[];
  /** Elements a window. */
  readonly step: number;
  /** Whether windows have to lie in the memory that transposes. */
  readonly transposes: boolean;
}

/** Memory of at most `length` bytes, taken as it is asked for: small models need little of it, and many are opened in turn. */
class Reserve {
  constructor(
    readonly length: number,
    private bytes: Uint8Array = new Uint8Array(0),
  ) {}

  /** Its first bytes. What they hold is not kept from one call to the next. */
  first(byteLength: number): Uint8Array {
    if (byteLength > this.bytes.length && byteLength <= this.length)
      this.bytes = new Uint8Array(Math.min(this.length, Math.max(LEAST_BYTES, 2 ** Math.ceil(Math.log2(byteLength)))));
    return this.bytes.subarray(0, byteLength);
  }
}

export interface GathererOptions {
  /** Whether matrices are transposed in vectors; plain loops are slower, to the same bytes. True unless given. */
  readonly vectors?: boolean;
  /** Where windows are made, as far as they fit. */
  readonly blocks?: Blocks | undefined;
}

/**
 * Executes moves with one working buffer that it keeps. A quarter of it stages source data, the rest is the window of
 * the target.
 */
export class Gatherer {
  #window: Reserve;
  #staging: Reserve;
  /** Holds window and staging, once a move transposes; null where the machine cannot, undefined before it is asked. */
  #memory: TransposingMemory | null | undefined;
  readonly #prepared = new WeakMap<Move, Prepared>();

  readonly #blocks: Blocks | undefined;

  constructor(bufferBytes = DEFAULT_BUFFER_BYTES, { vectors = true, blocks }: GathererOptions = {}) {
    this.#blocks = blocks;
    if (!vectors) this.#memory = null;
    // At least one element of 8 bytes each.
    const staging = Math.max(1, Math.floor(bufferBytes / 32)) * 8;
    this.#staging = new Reserve(staging);
    this.#window = new Reserve(Math.max(8, Math.floor((bufferBytes - staging) / 8) * 8));
  }

  /**
   * Gives bytes [begin, end) of the row-major target tensor of `move` to `sink`. Both ends fall between elements.
   * Throws what `read` and `sink` throw, and RangeError for a sub-byte tensor that is not one plain copy.
   */
  gather(move: Move, dtype: Dtype, [begin, end]: readonly [number, number], read: ReadBytes, sink: Sink): void {
    const itemBytes = bitsOf(dtype) / 8;
    if (begin >= end) return;
    if (move.fill !== undefined) this.#fill(move.fill.value, end - begin, sink);
    else if (!Number.isInteger(itemBytes)) this.#copy(plainSource(move, dtype), begin, end, read, sink);
    else this.#gather(move, itemBytes, begin, end, read, sink);
  }

  #gather(move: Move, itemBytes: number, begin: number, end: number, read: ReadBytes, sink: Sink): void {
    if (begin % itemBytes !== 0 || end % itemBytes !== 0) throw new RangeError(`${move.key}: range cuts an element`);
    const { pieces, step, transposes } = this.#prepare(move, itemBytes);
    const last = end / itemBytes;
    let first = 0;
    for (let at = begin / itemBytes; at < last; ) {
      while ((pieces[first]?.end ?? Infinity) <= at) first += 1;
      const stop = at + step < last ? alignedStop(pieces, first, at, at + step) : last;
      const bytes = this.#lent((stop - at) * itemBytes, !transposes);
      this.#fillWindow({ bytes, at, itemBytes, read }, pieces, first, stop);
      this.#give(bytes, sink);
      at = stop;
    }
  }

  #copy(key: string, begin: number, end: number, read: ReadBytes, sink: Sink): void {
    const chunk = Math.min(CHUNK_BYTES, this.#window.length);
    for (let at = begin; at < end; at += chunk) {
      const bytes = this.#lent(Math.min(chunk, end - at));
      read(key, at, bytes);
      this.#give(bytes, sink);
    }
  }

  /** Memory for what is made of a window, where there are blocks and it fits into one. */
  lend(byteLength: number): Uint8Array | null {
    return this.#blocks?.lend(byteLength) ?? null;
  }

  /** Memory of the next window, for as long as a sink takes. */
  #lent(byteLength: number, anywhere = true): Uint8Array {
    const block = anywhere ? this.#blocks?.lend(byteLength) : null;
    return block ?? this.#window.first(byteLength);
  }

  /** A sink that casts still reads from it when others ask for blocks. */
  #give(bytes: Uint8Array, sink: Sink): void {
    if (this.#blocks === undefined) sink(bytes);
    else this.#blocks.hold(bytes, () => sink(bytes));
  }

  #fill(value: number, byteLength: number, sink: Sink): void {
    const chunk = Math.min(CHUNK_BYTES, this.#window.length, byteLength);
    const bytes = this.#window.first(chunk);
    new Float32Array(bytes.buffer, bytes.byteOffset, chunk / 4).fill(value);
    for (let left = byteLength; left > 0; left -= chunk) sink(bytes.subarray(0, Math.min(chunk, left)));
  }

  #prepare(move: Move, itemBytes: number): Prepared {
    const known = this.#prepared.get(move);
    if (known?.itemBytes === itemBytes) return known;
    checkCount(move);
    const pieces = move.pieces
      .filter(({ sizes }) => !sizes.includes(0))
      .map((piece): Piece => {
        const block = blockOf(piece);
        const end = block.target + spanOf(block.axes, "targetStride");
        return { ...block, key: piece.source, end, straight: isStraight(block, itemBytes) };
      })
      .sort((a, b) => a.target - b.target);
    const transposes = pieces.some(({ axes }) => isTransposed(axes));
    if (transposes) this.#moveToMemory();
    const period = pieces.reduce((most, { axes, straight }) => Math.max(most, straight ? 1 : periodOf(axes)), 1);
    const stepBytes = Math.min(this.#window.length, Math.max(CHUNK_BYTES, period * itemBytes));
    const prepared = { itemBytes, pieces, step: Math.floor(stepBytes / itemBytes), transposes };
    this.#prepared.set(move, prepared);
    return prepared;
  }

  #moveToMemory(): void {
    if (this.#memory !== undefined) return;
    const [staging, window] = [this.#staging.length, this.#window.length];
    this.#memory = TransposingMemory.create(staging + window);
    if (this.#memory === null) return;
    this.#staging = new Reserve(staging, this.#memory.bytes.subarray(0, staging));
    this.#window = new Reserve(window, this.#memory.bytes.subarray(staging));
  }

  #fillWindow(window: Window, pieces: readonly Piece[], first: number, stop: number): void {
    for (let i = first; i < pieces.length; i += 1) {
      const piece = pieces[i];
      if (piece === undefined || piece.target >= stop) break;
      if (piece.end > window.at) clip(piece, window.at, stop, (block) => this.#place(window, piece.key, block));
    }
  }

  /** Reads one block of a source tensor and puts it in place. */
  #place(window: Window, key: string, block: Block): void {
    const { itemBytes } = window;
    if (isStraight(block, itemBytes)) {
      const runBytes = (block.axes.at(-1)?.size ?? 1) * itemBytes;
      forEachOffset(block.axes.slice(0, -1), block.source, block.target, (source, target) => {
        const at = (target - window.at) * itemBytes;
        window.read(key, source * itemBytes, window.bytes.subarray(at, at + runBytes));
      });
      return;
    }
    const { unit, outer } = unitOf(block.axes, this.#staging.length / itemBytes, GAP_BYTES / itemBytes);
    forEachOffset(outer, block.source, block.target, (source, target) => {
      this.#placeUnit(window, key, { source, target, axes: unit });
    });
  }

  /** One read into the staging buffer for as many indices as fit, and a copy in memory. */
  #placeUnit(window: Window, key: string, { source, target, axes }: Block): void {
    const { itemBytes } = window;
    const room = this.#staging.length / itemBytes;
    const far = farthest(axes);
    const inner = axes.filter((axis) => axis !== far);
    const width = spanOf(inner, "sourceStride");
    const stride = far?.sourceStride ?? 0;
    const size = far?.size ?? 1;
    const group = stride === 0 ? size : Math.floor((room - width) / stride) + 1;
    for (let i = 0; i < size; i += group) {
      const part =
        far === undefined ? axes : axes.map((a) => (a === far ? { ...a, size: Math.min(group, size - i) } : a));
      const bytes = this.#staging.first(spanOf(part, "sourceStride") * itemBytes);
      window.read(key, (source + i * stride) * itemBytes, bytes);
      const block = { source: 0, target: target + i * (far?.targetStride ?? 0) - window.at, axes: part };
      copyBlock(
        itemsOf(bytes, itemBytes),
        itemsOf(window.bytes, itemBytes),
        inWords(block, itemBytes),
        this.#memory ?? null,
      );
    }
  }
}

/** One run on both sides, or several that are long enough to be read one by one. */
function isStraight({ axes }: Block, itemBytes: number): boolean {
  const run = axes.at(-1);
  if (run === undefined) return true;
  const plain = run.sourceStride === 1 && run.targetStride === 1;
  return plain && (axes.length === 1 || run.size * itemBytes >= STRAIGHT_BYTES);
}

const farthest = (axes: readonly Axis[]): Axis | undefined =>
  axes.reduce<Axis | undefined>((far, axis) => (far && far.sourceStride >= axis.sourceStride ? far : axis), undefined);

/**
 * Splits axes into those that one read takes in together, gaps included, and those that need a read for each index.
 * Only the farthest axis of the unit may exceed the staging buffer: it is read in groups.
 */
function unitOf(axes: readonly Axis[], room: number, gap: number): { unit: readonly Axis[]; outer: readonly Axis[] } {
  const unit = new Set<Axis>();
  let span = 1;
  for (const axis of [...axes].sort((a, b) => a.sourceStride - b.sourceStride)) {
    if (span > room || axis.sourceStride - span > gap || span + axis.sourceStride > room) break;
    unit.add(axis);
    span += (axis.size - 1) * axis.sourceStride;
  }
  return { unit: axes.filter((axis) => unit.has(axis)), outer: axes.filter((axis) => !unit.has(axis)) };
}

/** A good place to end a window that would end at `stop`: not within the rows of a piece that is permuted. */
function alignedStop(pieces: readonly Piece[], first: number, at: number, stop: number): number {
  for (let i = first; i < pieces.length; i += 1) {
    const piece = pieces[i];
    if (piece === undefined || piece.target >= stop) break;
    if (piece.end > stop && !piece.straight) return alignedEnd(piece, at, stop);
  }
  return stop;
}

/** Old contents of the window must not pass for elements of this tensor. */
function checkCount({ key, shape, pieces }: Move): void {
  const covered = pieces.reduce((sum, { sizes }) => sum + elementCount(sizes), 0);
  if (covered === elementCount(shape)) return;
  throw new Error(`${key}: pieces of ${covered} elements for a tensor of ${elementCount(shape)}`);
}

function plainSource(move: Move, dtype: Dtype): string {
  const [piece, ...others] = move.pieces;
  const block = piece === undefined ? undefined : blockOf(piece);
  const [axis, ...more] = block?.axes ?? [];
  const count = elementCount(move.shape);
  const whole = axis === undefined ? count === 1 : axis.size === count && axis.sourceStride * axis.targetStride === 1;
  const starts = block?.source === 0 && block.target === 0;
  if (piece !== undefined && others.length === 0 && more.length === 0 && whole && starts) return piece.source;
  throw new RangeError(`${move.key}: ${dtype} tensors can only be copied whole`);
}

// Executes the moves of a table: fills ranges of a target tensor from its source tensors, in bounded memory.

import { bitsOf, type Dtype, elementCount } from "../base/dtype.ts";
import { BLOCK_BYTES, type Blocks } from "../base/threads/blocks.ts";
import type { Move } from "../table/move.ts";
import { type Block, blockOf, clip, copyBlock, forEachOffset, inWords, itemsOf } from "./gather/blocks.ts";
import { alignedStop, type Piece, type Pieces, piecesOf, rowBegin, windowStop } from "./gather/pieces.ts";
import { Reserve } from "./gather/reserve.ts";
import { type ReadBytes, Stage } from "./gather/stage.ts";
import { TransposingMemory } from "./gather/transpose.ts";

export type { ReadBytes } from "./gather/stage.ts";
/** Takes bytes in ascending order; they are overwritten after it returns. */
export type Sink = (bytes: Uint8Array) => void;

/** The default. A move touches only the memory that it needs: a plain copy 1 MiB, a RoPE permutation a head, a transpose all. */
export const DEFAULT_BUFFER_BYTES = 2 ** 25;

/** From this size on reads and writes run at full speed, and the data is still in the L2 cache when it is written. */
const CHUNK_BYTES = BLOCK_BYTES;
/** Of what is read over gaps, at most. */
const BETWEEN_BYTES = 2 ** 18;

/** One window of the target tensor. */
interface Window {
  readonly bytes: Uint8Array;
  /** First target element in it. */
  readonly at: number;
  readonly stop: number;
}

export interface GathererOptions {
  /** Whether matrices are transposed in vectors; plain loops are slower, to the same bytes. True unless given. */
  readonly vectors?: boolean;
  /** Where windows are made. */
  readonly blocks?: Blocks | undefined;
}

/** How a range is read. */
export interface GatherOptions {
  /** Nothing but the elements of the range is read: whoever reads counts them. */
  readonly exact?: boolean;
}

const multipleOf8 = (bytes: number): number => Math.max(8, 8 * Math.floor(bytes / 8));

/**
 * Executes moves with one working buffer that it keeps: what is staged of the source, and windows of the target where no
 * blocks are there for them.
 */
export class Gatherer {
  #window: Reserve;
  #stage: Stage;
  readonly #sizes: Readonly<Record<"dense" | "between" | "window", number>>;
  /** Holds what is staged, and windows, once a move transposes; null where the machine cannot, undefined before it is asked. */
  #memory: TransposingMemory | null | undefined;
  readonly #prepared = new WeakMap<Move, Pieces>();
  readonly #blocks: Blocks | undefined;
  /** Where the last range ended: what goes on there will need what follows. */
  #ended: { readonly pieces: Pieces; readonly at: number } | null = null;

  constructor(bufferBytes = DEFAULT_BUFFER_BYTES, { vectors = true, blocks }: GathererOptions = {}) {
    this.#blocks = blocks;
    if (!vectors) this.#memory = null;
    // At least one element of 8 bytes each.
    const between = multipleOf8(Math.min(BETWEEN_BYTES, (3 * bufferBytes) / 16));
    const window = multipleOf8(Math.min(CHUNK_BYTES, bufferBytes / 16));
    const dense = multipleOf8(bufferBytes - between - (blocks === undefined ? window : 0));
    this.#sizes = { dense, between, window };
    this.#window = new Reserve(window);
    this.#stage = new Stage(new Reserve(dense), new Reserve(between));
  }

  /**
   * Gives bytes [begin, end) of the row-major target tensor of `move` to `sink`. Both ends fall between elements.
   * @param read the same function reads the same: what is staged of it serves later calls
   * Throws what `read` and `sink` throw, and RangeError for a sub-byte tensor that is not one plain copy.
   */
  gather(
    move: Move,
    dtype: Dtype,
    [begin, end]: readonly [number, number],
    read: ReadBytes,
    sink: Sink,
    { exact = false }: GatherOptions = {},
  ): void {
    const itemBytes = bitsOf(dtype) / 8;
    if (begin >= end) return;
    if (move.fill !== undefined) this.#fill(move.fill.value, end - begin, sink);
    else if (!Number.isInteger(itemBytes)) this.#copy(plainSource(move, dtype), begin, end, read, sink);
    else {
      if (begin % itemBytes !== 0 || end % itemBytes !== 0) throw new RangeError(`${move.key}: range cuts an element`);
      this.#gather(this.#prepare(move, itemBytes), [begin / itemBytes, end / itemBytes], read, sink, exact);
    }
  }

  #gather(pieces: Pieces, [begin, end]: readonly [number, number], read: ReadBytes, sink: Sink, exact: boolean): void {
    const { all, itemBytes, isStaged } = pieces;
    const step = Math.floor(this.#window.length / itemBytes);
    const goesOn = begin === 0 || (this.#ended?.pieces === pieces && this.#ended.at === begin);
    const need = (at: number): number => this.#stageFrom(pieces, at, exact || !goesOn ? end : null, read, exact);
    let first = 0;
    let held = isStaged ? 0 : end;
    for (let at = begin; at < end; ) {
      while ((all[first]?.end ?? Infinity) <= at) first += 1;
      if (held <= at) held = this.#stage.heldUntil(pieces, read, at);
      if (held <= at) held = need(at);
      const most = Math.min(held, end);
      const stop = at + step < most ? windowStop(all, first, at, at + step) : most;
      const bytes = this.#lent((stop - at) * itemBytes);
      this.#fillWindow({ bytes, at, stop }, pieces, first, read);
      this.#ended = { pieces, at: stop };
      this.#give(bytes, sink);
      at = stop;
    }
  }

  /**
   * Stages what is needed from `at` on, rows whole, and returns where it ends.
   * @param most null where everything will be asked for
   */
  #stageFrom(pieces: Pieces, at: number, most: number | null, read: ReadBytes, exact: boolean): number {
    const { all, itemBytes, row } = pieces;
    const room = Math.floor(this.#stage.length / itemBytes);
    const span = spanOfStage(pieces, room);
    const first = all.findIndex(({ end }) => end > at);
    const low = exact ? at : rowBegin(all, first, at);
    const begin = low + span > at ? low : at;
    let end = alignedStop(all, first, begin, begin + span);
    if (end <= at) end = begin + span;
    if (most !== null) end = Math.min(end, exact ? most : begin + Math.ceil((most - begin) / row) * row);
    this.#stage.hold({ pieces, begin, end: Math.max(end, at + 1), read });
    return Math.max(end, at + 1);
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
  #lent(byteLength: number): Uint8Array {
    return this.#blocks?.lend(byteLength) ?? this.#window.first(byteLength);
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

  #prepare(move: Move, itemBytes: number): Pieces {
    const known = this.#prepared.get(move);
    if (known?.itemBytes === itemBytes) return known;
    const pieces = piecesOf(move, itemBytes);
    if (pieces.transposes) this.#moveToMemory();
    this.#prepared.set(move, pieces);
    return pieces;
  }

  /** What is staged lies where windows do: kernels work within one memory. */
  #moveToMemory(): void {
    if (this.#memory !== undefined) return;
    const { dense, between, window } = this.#sizes;
    if (this.#blocks !== undefined) {
      const room = this.#blocks.workspace(dense);
      this.#memory = room === null ? null : TransposingMemory.of(this.#blocks.shared.memory);
      if (this.#memory !== null && room !== null)
        this.#stage = new Stage(new Reserve(room.length, room), new Reserve(between));
      return;
    }
    this.#memory = TransposingMemory.create(dense + window);
    if (this.#memory === null) return;
    const bytes = this.#memory.bytes;
    this.#stage = new Stage(new Reserve(dense, bytes.subarray(0, dense)), new Reserve(between));
    this.#window = new Reserve(window, bytes.subarray(dense, dense + window));
  }

  #fillWindow({ bytes, at, stop }: Window, { all, itemBytes, isStaged }: Pieces, first: number, read: ReadBytes): void {
    for (let i = first; i < all.length; i += 1) {
      const piece = all[i];
      if (piece === undefined || piece.target >= stop) break;
      if (!piece.straight || piece.end <= at) continue;
      clip(piece, at, stop, (block) => readRuns(piece, block, bytes, at, itemBytes, read));
    }
    if (!isStaged) return;
    const [from, to] = [itemsOf(this.#stage.bytes, itemBytes), itemsOf(bytes, itemBytes)];
    for (const staged of this.#stage.blocks) {
      clip(staged, at, stop, ({ source, target, axes }) => {
        const block = inWords({ source, target: target - at, axes }, itemBytes);
        copyBlock(from, to, block, this.#memory ?? null);
      });
    }
  }
}

/** Straight to where they belong. */
function readRuns({ key }: Piece, block: Block, bytes: Uint8Array, begin: number, itemBytes: number, read: ReadBytes) {
  const runBytes = (block.axes.at(-1)?.size ?? 1) * itemBytes;
  forEachOffset(block.axes.slice(0, -1), block.source, block.target, (source, target) => {
    const at = (target - begin) * itemBytes;
    read(key, source * itemBytes, bytes.subarray(at, at + runBytes));
  });
}

/** Target elements that are staged at a time: a gapless range of the source, or rows of one, in parts of one size. */
function spanOfStage({ itemBytes, period, row }: Pieces, room: number): number {
  const chunk = Math.max(1, Math.floor(CHUNK_BYTES / itemBytes));
  if (period <= room) return Math.min(room, Math.max(chunk, period));
  const [rows, most] = [Math.ceil(period / row), Math.floor(room / row)];
  return most === 0 ? room : Math.ceil(rows / Math.ceil(rows / most)) * row;
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

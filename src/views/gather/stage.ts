// Source data of a range of a target tensor, staged where it does not lie there in runs: each element once, dense, in the
// order of its source. Windows of the target are made of it, however small they are.
import { type Axis, type Block, clip, copyBlock, forEachOffset, inWords, itemsOf, spanOf } from "./blocks.ts";
import type { Pieces } from "./pieces.ts";
import type { Reserve } from "./reserve.ts";

/** Fills `target` with the bytes from `begin` on of a source tensor, in the dtype of the target tensor. */
export type ReadBytes = (key: string, begin: number, target: Uint8Array) => void;

/** Reading over a gap of this length costs no more than a second read. */
const GAP_BYTES = 2 ** 12;

/** Target elements [begin, end) of a move. */
export interface Range {
  readonly pieces: Pieces;
  readonly begin: number;
  readonly end: number;
  readonly read: ReadBytes;
}

export class Stage {
  /** Bytes that it can hold. */
  readonly length: number;
  readonly #dense: Reserve;
  /** What is read over gaps, before these are left out. */
  readonly #between: Reserve;
  #held: Range | null = null;
  #used = 0;
  readonly #blocks: Block[] = [];

  constructor(dense: Reserve, between: Reserve) {
    this.length = dense.length;
    this.#dense = dense;
    this.#between = between;
  }

  /** One past the last target element that is held from `at` on; `at` where it is not. */
  heldUntil(pieces: Pieces, read: ReadBytes, at: number): number {
    const held = this.#held;
    const isHeld = held?.pieces === pieces && held.read === read && held.begin <= at && at < held.end;
    return isHeld ? held.end : at;
  }

  /** Of the target, with their sources here. */
  get blocks(): readonly Block[] {
    return this.#blocks;
  }

  get bytes(): Uint8Array {
    return this.#dense.first(this.#used);
  }

  /** Reads what a range needs. Its elements fit. Throws what `read` does. */
  hold(range: Range): void {
    const { pieces, begin, end } = range;
    const { itemBytes } = pieces;
    this.#held = null;
    this.#blocks.length = 0;
    const parts: [key: string, block: Block][] = [];
    let count = 0;
    for (const piece of pieces.all) {
      if (piece.target >= end) break;
      if (piece.straight || piece.end <= begin) continue;
      clip(piece, begin, end, (part) => {
        parts.push([piece.key, part]);
        this.#blocks.push(densely(part, count));
        count += part.axes.reduce((product, { size }) => product * size, 1);
      });
    }
    this.#used = count * itemBytes;
    for (const [i, [key, part]] of parts.entries()) this.#fill(range, key, part, this.#blocks[i]!);
    this.#held = range;
  }

  /** `dense` has the same axes as `part`. */
  #fill({ pieces: { itemBytes }, read }: Range, key: string, part: Block, dense: Block): void {
    const { run, between, outer } = levels(part, dense, this.#between.length / itemBytes, GAP_BYTES / itemBytes);
    const { bytes } = this;
    forEachOffset(outer, part.source, dense.source, (source, target) => {
      if (between.length > 0) this.#readOver(itemBytes, read, key, { source, target, axes: [...between, run] });
      else read(key, source * itemBytes, bytes.subarray(target * itemBytes, (target + run.size) * itemBytes));
    });
  }

  /** One read for as many runs as fit, and a copy without what lies between. Axes by source stride, largest first. */
  #readOver(itemBytes: number, read: ReadBytes, key: string, { source, target, axes }: Block): void {
    const [far = ONE, ...inner] = axes;
    const room = this.#between.length / itemBytes;
    const group = Math.max(1, Math.floor((room - spanOf(inner, "sourceStride")) / far.sourceStride) + 1);
    const to = itemsOf(this.bytes, itemBytes);
    for (let i = 0; i < far.size; i += group) {
      const part = [{ ...far, size: Math.min(group, far.size - i) }, ...inner];
      const bytes = this.#between.first(spanOf(part, "sourceStride") * itemBytes);
      read(key, (source + i * far.sourceStride) * itemBytes, bytes);
      const block = { source: 0, target: target + i * far.targetStride, axes: part };
      copyBlock(itemsOf(bytes, itemBytes), to, inWords(block, itemBytes), null);
    }
  }
}

const ONE: Axis = { size: 1, sourceStride: 1, targetStride: 1 };

/** The same block with sources that lie side by side from `at` on, in the order that they had. */
function densely({ target, axes }: Block, at: number): Block {
  const strides = new Map<Axis, number>();
  let stride = 1;
  for (const axis of bySource(axes)) {
    strides.set(axis, stride);
    stride *= axis.size;
  }
  return { source: at, target, axes: axes.map((axis) => ({ ...axis, sourceStride: strides.get(axis)! })) };
}

const bySource = (axes: readonly Axis[]): Axis[] => [...axes].sort((a, b) => a.sourceStride - b.sourceStride);

/** From a source to where it lies densely: a run, runs with small gaps between them, and those that are read for themselves. */
interface Levels {
  readonly run: Axis;
  readonly between: readonly Axis[];
  readonly outer: readonly Axis[];
}

function levels(part: Block, dense: Block, room: number, gap: number): Levels {
  const axes = part.axes
    .map(({ size, sourceStride }, a) => ({ size, sourceStride, targetStride: dense.axes[a]!.sourceStride }))
    .sort((a, b) => a.sourceStride - b.sourceStride);
  const isApart = ({ sourceStride, targetStride }: Axis) => sourceStride !== targetStride;
  const first = axes.findIndex(isApart);
  const joined = first < 0 ? axes : axes.slice(0, first);
  const run = { ...ONE, size: spanOf(joined, "sourceStride") };
  const rest = axes.slice(joined.length);
  let span = run.size;
  let count = 0;
  for (const { size, sourceStride } of rest) {
    if (sourceStride - span > gap || sourceStride + span > room) break;
    span += (size - 1) * sourceStride;
    count += 1;
  }
  return { run, between: rest.slice(0, count).reverse(), outer: rest.slice(count).reverse() };
}

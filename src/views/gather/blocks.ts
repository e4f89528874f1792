// Blocks: strided boxes of elements that lie in a source and in a target tensor, in any order of their axes.
import type { StridedCopy } from "../../table/move.ts";
import type { TransposingMemory } from "./transpose.ts";

export interface Axis {
  readonly size: number;
  /** Strides in elements. */
  readonly sourceStride: number;
  readonly targetStride: number;
}

/** Offsets and strides in elements. `axes` go by target stride, largest first, unless said otherwise. */
export interface Block {
  readonly source: number;
  readonly target: number;
  readonly axes: readonly Axis[];
}

/** Elements of one item, viewed as whole words. */
export type Items = Uint8Array | Uint16Array | Uint32Array;

/** From the first to one past the last element of the axes, in the source or in the target. */
export const spanOf = (axes: readonly Axis[], stride: "sourceStride" | "targetStride"): number =>
  axes.reduce((span, axis) => span + (axis.size - 1) * axis[stride], 1);

const countOf = (axes: readonly Axis[]): number => axes.reduce((count, { size }) => count * size, 1);

/** A copy as a block: axes by target stride, those of size 1 left out, neighbours merged that are one run on both sides. */
export function blockOf({ sizes, sourceStrides, targetStrides, sourceOffset, targetOffset }: StridedCopy): Block {
  const all = sizes
    .map((size, a) => ({ size, sourceStride: sourceStrides[a] ?? 0, targetStride: targetStrides[a] ?? 0 }))
    .filter(({ size }) => size !== 1)
    .sort((a, b) => b.targetStride - a.targetStride);
  const axes: Axis[] = [];
  for (const axis of all) {
    const outer = axes.at(-1);
    const joins =
      outer?.targetStride === axis.targetStride * axis.size && outer.sourceStride === axis.sourceStride * axis.size;
    if (joins) axes[axes.length - 1] = { ...axis, size: outer.size * axis.size };
    else axes.push(axis);
  }
  return { source: sourceOffset, target: targetOffset, axes };
}

/**
 * Target elements after which a target range stands for a gapless source range: the rows of a head for a RoPE
 * permutation, the matrix for a transpose, 1 for a copy. What others have between them in the target counts.
 */
export function periodOf(axes: readonly Axis[]): number {
  for (const [outer, { size, targetStride }] of axes.entries()) {
    const inner = axes.slice(outer + 1);
    if (spanOf(inner, "sourceStride") > countOf(inner)) return size * targetStride;
  }
  return 1;
}

/** Gives the parts of `block` whose targets lie in [begin, end), as few and as large as they come. */
export function clip(block: Block, begin: number, end: number, emit: (part: Block) => void): void {
  const { source, target, axes } = block;
  if (target >= end || target + spanOf(axes, "targetStride") <= begin) return;
  const [axis, ...inner] = axes;
  if (axis === undefined || (target >= begin && target + spanOf(axes, "targetStride") <= end)) {
    emit(block);
    return;
  }
  const { size, sourceStride, targetStride } = axis;
  const width = spanOf(inner, "targetStride");
  const at = (i: number, parts: readonly Axis[]): Block => ({
    source: source + i * sourceStride,
    target: target + i * targetStride,
    axes: parts,
  });
  const clamp = (i: number) => Math.min(size, Math.max(0, i));
  // Indices [touched, until) have targets in the range, [whole, rest) have all of theirs there.
  const touched = clamp(Math.floor((begin - target - width) / targetStride) + 1);
  const until = clamp(Math.ceil((end - target) / targetStride));
  const whole = Math.min(until, clamp(Math.ceil((begin - target) / targetStride)));
  const rest = Math.max(whole, clamp(Math.floor((end - target - width) / targetStride) + 1));
  for (let i = touched; i < whole; i += 1) clip(at(i, inner), begin, end, emit);
  if (rest > whole) emit(at(whole, [{ ...axis, size: rest - whole }, ...inner]));
  for (let i = rest; i < until; i += 1) clip(at(i, inner), begin, end, emit);
}

/**
 * The largest multiple of a target stride of `block`, of the largest stride possible, that cuts it in (begin, end]: a
 * range that ends there leaves whole rows to the next one.
 */
export function alignedEnd({ target, axes }: Block, begin: number, end: number): number {
  if (target > begin) return target;
  for (const { targetStride } of axes) {
    const cut = target + Math.floor((end - target) / targetStride) * targetStride;
    if (cut > begin) return cut;
  }
  return end;
}

/** Calls `visit` with the source and target offset of each index of `axes`. */
export function forEachOffset(
  axes: readonly Axis[],
  source: number,
  target: number,
  visit: (source: number, target: number) => void,
  depth = 0,
): void {
  const axis = axes[depth];
  if (axis === undefined) {
    visit(source, target);
    return;
  }
  const { size, sourceStride, targetStride } = axis;
  for (let i = 0; i < size; i += 1) {
    forEachOffset(axes, source + i * sourceStride, target + i * targetStride, visit, depth + 1);
  }
}

/** A view of whole items; 8-byte items become pairs of words (`inWords`), so that no NaN passes through a float. */
export function itemsOf(bytes: Uint8Array, itemBytes: number): Items {
  if (itemBytes === 1) return bytes;
  const { buffer, byteOffset, byteLength } = bytes;
  if (itemBytes === 2) return new Uint16Array(buffer, byteOffset, byteLength / 2);
  return new Uint32Array(buffer, byteOffset, byteLength / 4);
}

export function inWords({ source, target, axes }: Block, itemBytes: number): Block {
  if (itemBytes !== 8) return { source, target, axes };
  const run = axes.at(-1);
  const joined = run?.sourceStride === 1 && run.targetStride === 1 ? run : undefined;
  const wide = (joined === undefined ? axes : axes.slice(0, -1)).map((axis) => ({
    size: axis.size,
    sourceStride: axis.sourceStride * 2,
    targetStride: axis.targetStride * 2,
  }));
  const words = { size: (joined?.size ?? 1) * 2, sourceStride: 1, targetStride: 1 };
  return { source: source * 2, target: target * 2, axes: [...wide, words] };
}

/** Shorter runs are copied faster in a loop than by a call. */
const RUN_ITEMS = 32;
/** A tile of a transpose: its rows and columns stay in the L1 cache. */
const TILE = 32;

/** Whether neighbours in the target are rows apart in the source, and the other way round. */
export const isTransposed = (axes: readonly Axis[]): boolean =>
  axes.at(-1)?.targetStride === 1 && axes.slice(0, -1).some(({ sourceStride }) => sourceStride === 1);

/** target[block.target + …] = source[block.source + …]. `memory`, if given, holds both. */
export function copyBlock(
  from: Items,
  to: Items,
  { source, target, axes }: Block,
  memory: TransposingMemory | null,
): void {
  const run = axes.at(-1);
  if (run === undefined) {
    to[target] = from[source]!;
    return;
  }
  if (run.sourceStride === 1 && run.targetStride === 1 && run.size >= RUN_ITEMS) {
    const { size } = run;
    forEachOffset(axes.slice(0, -1), source, target, (s, t) => to.set(from.subarray(s, s + size), t));
    return;
  }
  const across = axes.slice(0, -1).reduce((least: Axis | undefined, axis) => {
    return least === undefined || axis.sourceStride < least.sourceStride ? axis : least;
  }, undefined);
  const outer = axes.slice(0, -1).filter((axis) => axis !== across);
  const plane = memory === null || !isTransposed(axes) ? copyPlane : transposePlane(memory);
  forEachOffset(outer, source, target, (s, t) => plane(from, to, s, t, across ?? ONE, run));
}

const ONE: Axis = { size: 1, sourceStride: 0, targetStride: 0 };

type CopyPlane = (from: Items, to: Items, source: number, target: number, across: Axis, along: Axis) => void;

/** The memory transposes whole blocks; plain loops copy the edges that remain. */
const transposePlane =
  (memory: TransposingMemory): CopyPlane =>
  (from, to, source, target, across, along) => {
    const width = from.BYTES_PER_ELEMENT;
    const [rows, columns] = memory.transpose(width, {
      source: from.byteOffset + source * width,
      target: to.byteOffset + target * width,
      rows: along.size,
      columns: across.size,
      sourceStride: along.sourceStride * width,
      targetStride: across.targetStride * width,
    });
    const below = { ...along, size: along.size - rows };
    const beside = { ...across, size: across.size - columns };
    copyPlane(from, to, source + columns, target + columns * across.targetStride, beside, along);
    copyPlane(from, to, source + rows * along.sourceStride, target + rows, { ...across, size: columns }, below);
  };

/** Two axes in tiles: `along` is nearest in the target, `across` in the source. */
function copyPlane(from: Items, to: Items, source: number, target: number, across: Axis, along: Axis): void {
  const { sourceStride: sAlong, targetStride: tAlong } = along;
  const { sourceStride: sAcross, targetStride: tAcross } = across;
  for (let i0 = 0; i0 < across.size; i0 += TILE) {
    const i1 = Math.min(i0 + TILE, across.size);
    for (let j0 = 0; j0 < along.size; j0 += TILE) {
      const j1 = Math.min(j0 + TILE, along.size);
      for (let i = i0; i < i1; i += 1) {
        let s = source + i * sAcross + j0 * sAlong;
        let t = target + i * tAcross + j0 * tAlong;
        for (let j = j0; j < j1; j += 1) {
          to[t] = from[s]!;
          s += sAlong;
          t += tAlong;
        }
      }
    }
  }
}

// The pieces of a move as blocks, and where a target range may be cut so that whole runs of the source belong to it.
import { elementCount } from "../../base/dtype.ts";
import type { Move } from "../../table/move.ts";
import { type Axis, alignedEnd, type Block, blockOf, isTransposed, periodOf, spanOf } from "./blocks.ts";

/** A piece of a move, with what is found once. */
export interface Piece extends Block {
  readonly key: string;
  /** One past its last target element. */
  readonly end: number;
  /** Its innermost run is long on both sides, so that any cut of the target is as good as another. */
  readonly straight: boolean;
  /** Target elements from one index of a source run to the next: a cut elsewhere takes single elements of runs. */
  readonly row: number;
}

export interface Pieces {
  readonly itemBytes: number;
  /** By target offset. */
  readonly all: readonly Piece[];
  /** Whether any has to be staged. */
  readonly isStaged: boolean;
  readonly transposes: boolean;
  /** Target elements that stand for a gapless range of the source. */
  readonly period: number;
  /** The largest of the pieces. */
  readonly row: number;
}

/** Runs of this length are read one by one, straight to where they belong. */
const STRAIGHT_BYTES = 2 ** 16;

/** Throws Error where the pieces do not make the whole tensor. */
export function piecesOf(move: Move, itemBytes: number): Pieces {
  checkCount(move);
  const all = move.pieces
    .filter(({ sizes }) => !sizes.includes(0))
    .map((piece): Piece => {
      const block = blockOf(piece);
      const end = block.target + spanOf(block.axes, "targetStride");
      return {
        ...block,
        key: piece.source,
        end,
        straight: isStraight(block, itemBytes),
        row: rowOf(block.axes),
      };
    })
    .sort((a, b) => a.target - b.target);
  const staged = all.filter(({ straight }) => !straight);
  const most = (of: (piece: Piece) => number): number => staged.reduce((most, piece) => Math.max(most, of(piece)), 1);
  return {
    itemBytes,
    all,
    isStaged: staged.length > 0,
    transposes: staged.some(({ axes }) => isTransposed(axes)),
    period: most(({ axes }) => periodOf(axes)),
    row: most(({ row }) => row),
  };
}

/** One run on both sides, or several that are long enough to be read one by one. */
function isStraight({ axes }: Block, itemBytes: number): boolean {
  const run = axes.at(-1);
  if (run === undefined) return true;
  const plain = run.sourceStride === 1 && run.targetStride === 1;
  return plain && (axes.length === 1 || run.size * itemBytes >= STRAIGHT_BYTES);
}

function rowOf(axes: readonly Axis[]): number {
  const run = axes.find(({ sourceStride }) => sourceStride === 1);
  return run?.targetStride ?? 1;
}

/** A good place to end a range that would end at `stop`: not within the rows of a piece that is staged. */
export function alignedStop(pieces: readonly Piece[], first: number, at: number, stop: number): number {
  for (let i = first; i < pieces.length; i += 1) {
    const piece = pieces[i];
    if (piece === undefined || piece.target >= stop) break;
    if (piece.end > stop && !piece.straight) return alignedEnd(piece, at, stop);
  }
  return stop;
}

/** The same for a window: after as many whole rows as vectors take at once, where that leaves any. */
export function windowStop(pieces: readonly Piece[], first: number, at: number, stop: number): number {
  for (let i = first; i < pieces.length; i += 1) {
    const piece = pieces[i];
    if (piece === undefined || piece.target >= stop) break;
    if (piece.end <= stop || piece.straight || piece.row === 1) continue;
    for (const rows of [VECTOR_ROWS, 1]) {
      const unit = rows * piece.row;
      const cut = piece.target + Math.floor((stop - piece.target) / unit) * unit;
      if (cut > at) return cut;
    }
  }
  return stop;
}

/** Elements of a byte in a vector. */
const VECTOR_ROWS = 16;

/** Where the row begins that `at` lies in, of the pieces that are staged. */
export function rowBegin(pieces: readonly Piece[], first: number, at: number): number {
  for (let i = first; i < pieces.length; i += 1) {
    const piece = pieces[i];
    if (piece === undefined || piece.target >= at) break;
    if (piece.end > at && !piece.straight)
      return piece.target + Math.floor((at - piece.target) / piece.row) * piece.row;
  }
  return at;
}

/** Old contents of a window must not pass for elements of this tensor. */
function checkCount({ key, shape, pieces }: Move): void {
  const covered = pieces.reduce((sum, { sizes }) => sum + elementCount(sizes), 0);
  if (covered === elementCount(shape)) return;
  throw new Error(`${key}: pieces of ${covered} elements for a tensor of ${elementCount(shape)}`);
}

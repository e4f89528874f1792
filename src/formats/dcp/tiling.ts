import { type Refusal, refuse, type Where } from "../pickle/refuse.ts";

/** A box of a tensor. */
export interface Box {
  readonly offsets: readonly number[];
  readonly sizes: readonly number[];
}

/** Pairs of boxes to compare, at most: a tensor cut into a thousand columns needs half a million. */
const PAIR_LIMIT = 50_000_000;

/**
 * Proves that boxes cover every element of a shape exactly once: none leaves it, no two meet, and the counts agree.
 * @throws InputError for a hole or an overlap, which torch lets pass (it loads uninitialised memory)
 */
export function checkTiling(shape: readonly number[], boxes: readonly Box[], where: Where): void {
  const fail = (code: string, what: string, details: Refusal) => refuse(where, code, what, details);
  let covered = 0;
  for (const { offsets, sizes } of boxes) {
    const fits =
      offsets.length === shape.length &&
      sizes.length === shape.length &&
      shape.every((n, axis) => offsets[axis]! + sizes[axis]! <= n);
    if (!fits) {
      throw fail("DCP_CHUNK_BOUNDS", "a chunk leaves its tensor", {
        expected: `inside [${shape}]`,
        found: describe({ offsets, sizes }),
      });
    }
    covered += count(sizes);
  }
  const meeting = firstOverlap(
    boxes.filter((box) => !box.sizes.includes(0)),
    where,
  );
  if (meeting !== undefined) {
    throw fail("DCP_CHUNK_OVERLAP", "two of its chunks overlap", { found: meeting.map(describe).join(" and ") });
  }
  if (covered !== count(shape)) {
    throw fail("DCP_CHUNK_HOLE", "its chunks do not cover it: a part of the tensor is not in the checkpoint", {
      expected: `${count(shape)} elements`,
      found: `${covered} elements in ${boxes.length} chunks`,
      help: "copy the files of all ranks, or save again; torch itself would load uninitialised memory",
    });
  }
}

/** Sweeps along the axis with the most distinct offsets; only boxes that share a place on it are compared. */
function firstOverlap(boxes: readonly Box[], where: Where): [Box, Box] | undefined {
  const rank = boxes[0]?.offsets.length ?? 0;
  if (rank === 0) return boxes.length > 1 ? [boxes[0]!, boxes[1]!] : undefined;
  const distinct = Array.from({ length: rank }, (_, axis) => new Set(boxes.map((box) => box.offsets[axis])).size);
  const axis = distinct.indexOf(Math.max(...distinct));
  const sorted = boxes.toSorted((a, b) => a.offsets[axis]! - b.offsets[axis]!);
  let active: Box[] = [];
  let pairs = 0;
  for (const box of sorted) {
    if (active.length > 0 && end(active[0]!, axis) <= box.offsets[axis]!) {
      active = active.filter((other) => end(other, axis) > box.offsets[axis]!);
    }
    pairs += active.length;
    if (pairs > PAIR_LIMIT) throw refuse(where, "DCP_CHUNKS", `is cut into ${boxes.length} chunks in an irregular way`);
    for (const other of active) {
      if (end(other, axis) > box.offsets[axis]! && meet(box, other)) return [other, box];
    }
    active.push(box);
  }
  return undefined;
}

const meet = (a: Box, b: Box): boolean =>
  a.offsets.every((at, axis) => at < end(b, axis) && b.offsets[axis]! < end(a, axis));

const end = (box: Box, axis: number): number => box.offsets[axis]! + box.sizes[axis]!;

const count = (sizes: readonly number[]): number => sizes.reduce((product, n) => product * n, 1);

const describe = ({ offsets, sizes }: Box): string => `[${sizes}] at [${offsets}]`;

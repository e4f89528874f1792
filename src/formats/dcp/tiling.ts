import { type Refusal, refuse, type Where } from "../io/refuse.ts";

/** A box of a tensor. */
export interface Box {
  readonly offsets: readonly number[];
  readonly sizes: readonly number[];
}

/** Pairs of boxes to compare, at most. A square grid of n × n needs n³ of them, a tensor cut along one axis none. */
const PAIR_LIMIT = 10_000_000;

/**
 * Proves that boxes cover every element of a shape exactly once: none leaves the shape, no two overlap, and the counts
 * agree.
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
        found: boxText({ offsets, sizes }),
      });
    }
    covered += count(sizes);
  }
  const meeting = firstOverlap(
    shape,
    boxes.filter((box) => !box.sizes.includes(0)),
    where,
  );
  if (meeting !== undefined) {
    throw fail("DCP_CHUNK_OVERLAP", "two of its chunks overlap", { found: meeting.map(boxText).join(" and ") });
  }
  if (covered !== count(shape)) {
    throw fail("DCP_CHUNK_HOLE", "its chunks do not cover it: a part of the tensor is not in the checkpoint", {
      expected: `${count(shape)} elements`,
      found: `${covered} elements in ${boxes.length} chunks`,
      help: "copy the files of all ranks, or save again; torch itself would load uninitialised memory",
    });
  }
}

/** Sweeps along the axis on which the fewest boxes lie side by side; only those are compared. */
function firstOverlap(shape: readonly number[], boxes: readonly Box[], where: Where): [Box, Box] | undefined {
  if (shape.length === 0) return boxes.length > 1 ? [boxes[0]!, boxes[1]!] : undefined;
  const sideBySide = shape.map((n, axis) => boxes.reduce((sum, box) => sum + box.sizes[axis]! / n, 0));
  const axis = sideBySide.indexOf(sideBySide.reduce((a, b) => Math.min(a, b)));
  const sorted = boxes.toSorted((a, b) => a.offsets[axis]! - b.offsets[axis]!);
  let active: Box[] = [];
  let pairs = 0;
  for (const box of sorted) {
    if (active.length > 0 && end(active[0]!, axis) <= box.offsets[axis]!) {
      active = active.filter((other) => end(other, axis) > box.offsets[axis]!);
    }
    pairs += active.length;
    if (pairs > PAIR_LIMIT) throw refuse(where, "DCP_CHUNKS", `is cut into ${boxes.length} chunks in an irregular way`);
    for (const other of active) if (meet(box, other)) return [other, box];
    active.push(box);
  }
  return undefined;
}

function meet(a: Box, b: Box): boolean {
  for (let axis = 0; axis < a.offsets.length; axis++) {
    if (a.offsets[axis]! >= end(b, axis) || b.offsets[axis]! >= end(a, axis)) return false;
  }
  return true;
}

const end = (box: Box, axis: number): number => box.offsets[axis]! + box.sizes[axis]!;

const count = (sizes: readonly number[]): number => sizes.reduce((product, n) => product * n, 1);

const boxText = ({ offsets, sizes }: Box): string => `[${sizes}] at [${offsets}]`;

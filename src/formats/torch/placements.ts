// Which part of a tensor a rank holds, by how the tensor is placed on a mesh of ranks.
// Source: pytorch/pytorch@v2.13.0:torch/distributed/tensor/placement_types.py (`Shard._custom_chunk`,
// `_StridedShard._split_tensor`), _dtensor_spec.py (`shard_order`)
import type { Box } from "../dcp/tiling.ts";

/** Pieces that one placement may have cut before: ranks of tensor parallelism are some tens. */
export const MOST_PIECES = 1 << 12;

/** Of one dim of a mesh. */
export type Placement =
  | { readonly kind: "replicate" }
  | { readonly kind: "shard"; readonly dim: number }
  /** Cut into so many pieces before: FSDP of what tensor parallelism has cut along the same dim. */
  | { readonly kind: "strided"; readonly dim: number; readonly splitFactor: number };

/** One dim of a mesh: how many ranks lie along it, which of them this one is, and what is done along it. */
export interface MeshDim {
  readonly size: number;
  readonly coordinate: number;
  readonly placement: Placement;
}

/** A box of the whole tensor, and where it begins in the rank's own. */
export interface LocalBox extends Box {
  readonly from: readonly number[];
}

export interface LocalPart {
  /** Of the rank's own tensor. */
  readonly shape: readonly number[];
  /** That it is made of; none where it has no elements. */
  readonly boxes: readonly LocalBox[];
}

/** Indices [begin, end) along a dim. */
type Run = readonly [begin: number, end: number];

/** @param mesh in the order in which its dims cut */
export function localPart(shape: readonly number[], mesh: readonly MeshDim[]): LocalPart {
  const runs: (readonly Run[])[] = shape.map((size) => [[0, size]]);
  for (const { size, coordinate, placement } of mesh) {
    if (placement.kind === "replicate") continue;
    const { dim } = placement;
    const whole = runs[dim]!;
    const pieces = placement.kind === "strided" ? chunks(whole, placement.splitFactor) : [whole];
    runs[dim] = joined(pieces.flatMap((piece) => chunk(piece, size, coordinate)));
  }
  return { shape: runs.map(lengthOf), boxes: boxesOf(runs) };
}

/** As torch.chunk cuts, but with as many chunks as asked for: the last ones may be empty. */
function chunk(runs: readonly Run[], count: number, which: number): Run[] {
  const length = lengthOf(runs);
  const size = Math.ceil(length / count);
  return slice(runs, Math.min(which * size, length), Math.min((which + 1) * size, length));
}

const chunks = (runs: readonly Run[], count: number): Run[][] =>
  Array.from({ length: count }, (_, which) => chunk(runs, count, which));

/** What stands at the places [begin, end) of the runs in a row. */
function slice(runs: readonly Run[], begin: number, end: number): Run[] {
  const taken: Run[] = [];
  let at = 0;
  for (const [first, last] of runs) {
    const length = last - first;
    const [from, to] = [Math.max(begin - at, 0), Math.min(end - at, length)];
    if (from < to) taken.push([first + from, first + to]);
    at += length;
  }
  return taken;
}

/** Runs that touch as one. */
function joined(runs: readonly Run[]): Run[] {
  const result: Run[] = [];
  for (const run of runs) {
    const last = result.at(-1);
    if (last !== undefined && last[1] === run[0]) result[result.length - 1] = [last[0], run[1]];
    else result.push(run);
  }
  return result;
}

const lengthOf = (runs: readonly Run[]): number => runs.reduce((sum, [begin, end]) => sum + end - begin, 0);

/** Every choice of one run a dim. */
function boxesOf(runs: readonly (readonly Run[])[]): LocalBox[] {
  let boxes: LocalBox[] = [{ offsets: [], sizes: [], from: [] }];
  for (const ofDim of runs) {
    let at = 0;
    const steps = ofDim.map(([begin, end]) => {
      const from = at;
      at += end - begin;
      return { begin, size: end - begin, from };
    });
    boxes = boxes.flatMap(({ offsets, sizes, from }) =>
      steps.map((step) => ({
        offsets: [...offsets, step.begin],
        sizes: [...sizes, step.size],
        from: [...from, step.from],
      })),
    );
  }
  return boxes;
}

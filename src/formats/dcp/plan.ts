import { bitsOf, elementCount } from "../../base/dtype.ts";
import { UsageError } from "../../base/errors.ts";
import type { OutputFile, OutputPart } from "../output.ts";
import { layOutPayload, planTorchValues, type TargetTensor, torchDtypeOf } from "../pt/plan.ts";
import { rowMajorStrides } from "../torch/strided.ts";
import { planZip, type ZipLayout } from "../zip/plan.ts";
import { loadablePaths } from "./loadable-paths.ts";
import type { DcpChunk } from "./metadata.ts";
import type { Box } from "./tiling.ts";
import { type PlannedEntry, type PlannedTensor, writeMetadata } from "./write-metadata.ts";

export interface DcpPlanOptions {
  /** Number of ranks, each with a file of its own; 1 unless given. */
  readonly ranks?: number;
  /** Boxes that tile a tensor, in place of the rows of each rank. */
  readonly chunks?: (tensor: TargetTensor) => readonly Box[] | undefined;
  /** Names of entries that hold `[None]`, as Megatron-Core saves modules without a state of their own. */
  readonly empty?: readonly string[];
  /** Where a flat name stands in the nested state dict (`planner_data`), as far as torch can load it so; else the name itself. */
  readonly paths?: ReadonlyMap<string, readonly (string | number)[]>;
  /** Values that are no tensors, each as `torch.save` pickled it, by their names; in the first rank's file. */
  readonly entries?: ReadonlyMap<string, Uint8Array>;
}

/**
 * A folder of torch.distributed.checkpoint: `__R_0.distcp` of each rank that has a chunk, and `.metadata` last.
 * Without `chunks`, a tensor is cut along its first axis as FSDP does: ceil(n / ranks) rows a rank.
 * @throws UsageError for a number of ranks that is none; InputError for a dtype that torch does not have
 */
export function planDcp(tensors: Iterable<TargetTensor>, options: DcpPlanOptions = {}): OutputFile[] {
  const ranks = options.ranks ?? 1;
  if (!Number.isSafeInteger(ranks) || ranks < 1) {
    throw new UsageError("RANKS", `${ranks} is no number of ranks`, { help: "give a whole number of at least 1" });
  }
  const files: Files = new Map();
  const planned: PlannedTensor[] = [];
  const layouts = new Map<string, ZipLayout>();
  for (const tensor of tensors) {
    const { key, dtype } = tensor;
    const torch = torchDtypeOf(tensor);
    const boxes = options.chunks?.(tensor) ?? rowChunks(tensor.shape, rowsPerRank(tensor.shape, ranks));
    const chunks = boxes.map(({ offsets, sizes }): DcpChunk => {
      const rank = rankOf(offsets, tensor.shape, ranks);
      const file = files.get(rank) ?? { byteLength: 0, parts: [], sums: 0 };
      files.set(rank, file);
      const kind = `${dtype} ${sizes}`;
      const layout = layouts.get(kind) ?? layOutPayload(torch, sizes);
      layouts.set(kind, layout);
      const payload = { file: fileName(rank), offset: file.byteLength, length: layout.byteLength };
      file.byteLength += layout.byteLength;
      const ranges = rangesOf({ offsets, sizes }, tensor);
      for (const part of planZip(layout, [{ key, ranges }], file.sums)) file.parts.push(part);
      file.sums += 1;
      return { offsets, sizes, payload };
    });
    planned.push({ key, dtype, shape: tensor.shape, chunks });
  }
  const values = [...(options.entries ?? [])].map(([key, bytes]) => {
    const file = files.get(0) ?? { byteLength: 0, parts: [], sums: 0 };
    files.set(0, file);
    const payload = { file: fileName(0), offset: file.byteLength, length: bytes.length };
    file.byteLength += bytes.length;
    file.parts.push({ kind: "bytes", bytes });
    return { key, payload };
  });
  const entries = [...values, ...emptyEntries(options.empty ?? [], files)];
  const metadata = writeMetadata(
    planned,
    loadablePaths(
      [...planned, ...entries].map(({ key }) => key),
      options.paths ?? new Map(),
    ),
    entries,
  );
  return [
    ...[...files]
      .sort(([a], [b]) => a - b)
      .map(([rank, { byteLength, parts }]) => ({
        name: fileName(rank),
        byteLength,
        parts,
      })),
    { name: ".metadata", byteLength: metadata.length, parts: [{ kind: "bytes", bytes: metadata }] },
  ];
}

type Files = Map<number, { byteLength: number; parts: OutputPart[]; sums: number }>;

/** Of the first rank, behind its tensors. */
function emptyEntries(names: readonly string[], files: Files): PlannedEntry[] {
  if (names.length === 0) return [];
  const { byteLength, parts } = planTorchValues([null], "");
  const file = files.get(0) ?? { byteLength: 0, parts: [], sums: 0 };
  files.set(0, file);
  return names.map((key) => {
    const payload = { file: fileName(0), offset: file.byteLength, length: byteLength };
    file.parts.push(...parts);
    file.byteLength += byteLength;
    return { key, payload };
  });
}

const fileName = (rank: number): string => `__${rank}_0.distcp`;

/** Boxes of `rows` along the first axis; a scalar or an empty tensor is one box. */
export function rowChunks(shape: readonly number[], rows: number): Box[] {
  const [first = 0, ...rest] = shape;
  if (shape.length === 0 || shape.includes(0)) return [{ offsets: shape.map(() => 0), sizes: shape }];
  return Array.from({ length: Math.ceil(first / rows) }, (_, i) => ({
    offsets: [i * rows, ...rest.map(() => 0)],
    sizes: [Math.min(rows, first - i * rows), ...rest],
  }));
}

/** A box for each index of the first `axes` axes. All have one array of sizes: a large model has tens of thousands. */
export function stackChunks(shape: readonly number[], axes: number): Box[] {
  const sizes = shape.map((size, axis) => (axis < axes ? 1 : size));
  let boxes: Box[] = [{ offsets: shape.map(() => 0), sizes }];
  for (let axis = 0; axis < axes; axis++)
    boxes = boxes.flatMap(({ offsets }) =>
      Array.from({ length: shape[axis]! }, (_, i) => ({ offsets: offsets.with(axis, i), sizes })),
    );
  return boxes;
}

const rowsPerRank = (shape: readonly number[], ranks: number): number =>
  Math.max(1, Math.ceil((shape[0] ?? 0) / ranks));

/** The rank that owns the first row of a box at these offsets. */
const rankOf = (offsets: readonly number[], shape: readonly number[], ranks: number): number =>
  Math.floor((offsets[0] ?? 0) / rowsPerRank(shape, ranks));

/** The row-major byte ranges of a tensor that make up a box, in order. */
function rangesOf(box: Box, tensor: TargetTensor): [number, number][] {
  const width = bitsOf(tensor.dtype) / 8;
  const { shape } = tensor;
  if (box.sizes.includes(0)) return [];
  const strides = rowMajorStrides(shape);
  // Axes after this one are covered whole: their elements are contiguous.
  const cut = box.sizes.findLastIndex((size, axis) => size !== shape[axis]);
  const run = elementCount(box.sizes.slice(Math.max(cut, 0)));
  let starts = [box.offsets.reduce((at, offset, axis) => at + offset * strides[axis]!, 0)];
  for (let axis = 0; axis < cut; axis++) {
    starts = starts.flatMap((at) => Array.from({ length: box.sizes[axis]! }, (_, i) => at + i * strides[axis]!));
  }
  return starts.map((at) => [at * width, (at + run) * width]);
}

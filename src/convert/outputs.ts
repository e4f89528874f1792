// The files that hold the weights of a target.

import { elementCount } from "../base/dtype.ts";
import { UsageError } from "../base/errors.ts";
import { isSameLayout } from "../family/layout.ts";
import type { Checkpoint, SafetensorsOrigin, TensorInfo } from "../formats/checkpoint.ts";
import { planDcp, stackChunks } from "../formats/dcp/plan.ts";
import type { OutputFile } from "../formats/output.ts";
import { planTorchFile } from "../formats/pt/plan.ts";
import { DEFAULT_SINGLE_NAME, planSafetensors, planSafetensorsAgain } from "../formats/safetensors/write.ts";
import type { RankedTensor } from "../model/ranks.ts";
import type { Target } from "../output/target.ts";
import type { MappedTensor, Mapping } from "../views/mapping.ts";
import { planRankFiles, type Shard } from "./rank-files.ts";
import type { Route } from "./route.ts";

export interface SizeOptions {
  /** Bytes of tensor data in a safetensors shard. */
  readonly maxShardSize?: number | undefined;
  /** Files of a DCP target, or of a directory of rank files. */
  readonly ranks?: number | undefined;
}

/** Safetensors files that the target's tensors once lay in. */
export interface Originals {
  readonly files: SafetensorsOrigin;
  /** Whether a tensor has another dtype now. */
  readonly cast: boolean;
}

export interface OutputRequest {
  readonly mapping: Mapping;
  /** Values that are no tensors, of a DCP target: as they are pickled, by their names. */
  readonly entries?: ReadonlyMap<string, Uint8Array> | undefined;
  /** Tensors of a layout that is saved as rank shards; null for others. */
  readonly ranked: ReadonlyMap<string, RankedTensor> | null;
  readonly target: Target;
  readonly originals: Originals | null;
  /** `__metadata__` of new safetensors files. */
  readonly metadata: Readonly<Record<string, string>> | null;
}

export interface Outputs {
  readonly files: readonly OutputFile[];
  /** What the files hold of tensors that are cut over ranks, by the key in their parts. */
  readonly shards?: ReadonlyMap<string, Shard>;
  readonly notes: readonly string[];
}

/** Throws UsageError where an option means nothing for the target's format. */
export function outputFiles(request: OutputRequest, options: SizeOptions): Outputs {
  const { mapping, target } = request;
  checkOptions(request, options);
  const tensors = [...mapping.tensors.values()].map(({ info }) => info);
  switch (target.format) {
    case "safetensors":
      return safetensorsFiles(tensors, request, options.maxShardSize);
    case "dcp":
      return { files: dcpFiles(request, tensors, options.ranks ?? 1), notes: [] };
    case "pt":
      if (isRankTarget(request)) return { ...planRankFiles(tensors, request.ranked, options.ranks ?? 1), notes: [] };
      return { files: planTorchFile(tensors, target.fileName ?? "model.pt"), notes: [] };
    default:
      throw target.format satisfies never;
  }
}

/** A directory of rank files; a target that is one file holds whole tensors. */
const isRankTarget = (
  request: OutputRequest,
): request is OutputRequest & { ranked: ReadonlyMap<string, RankedTensor> } =>
  request.ranked !== null && request.target.format === "pt" && request.target.fileName === null;

function checkOptions(request: OutputRequest, { maxShardSize, ranks }: SizeOptions): void {
  const { format, fileName } = request.target;
  const refuse = (option: string, why: string): never => {
    throw new UsageError("OPTION_MEANINGLESS", `--${option}: ${why}`, { help: `leave out --${option}` });
  };
  if (ranks !== undefined && format !== "dcp" && !isRankTarget(request))
    refuse("ranks", `only DCP and directories of rank files have ranks, and this target is ${format}`);
  if (maxShardSize === undefined) return;
  if (format !== "safetensors") refuse("max-shard-size", `only safetensors has shards, and the target is ${format}`);
  if (fileName !== null) refuse("max-shard-size", "the target is one file");
}

/** Each expert is a chunk of its own: a loader then holds one expert in memory, not the stack. */
function dcpFiles(
  { mapping: { tensors, paths, to }, entries }: OutputRequest,
  infos: readonly TensorInfo[],
  ranks: number,
): OutputFile[] {
  const empty = to.side === "native" ? (to.emptyEntries?.() ?? []) : [];
  const chunks = ({ key, shape }: Pick<TensorInfo, "key" | "shape">) => {
    const tensor = tensors.get(key);
    const axes = tensor === undefined ? 0 : stackAxes(tensor);
    return axes > 0 ? stackChunks(shape, axes) : undefined;
  };
  return planDcp(infos, {
    ranks,
    chunks,
    empty,
    ...(entries === undefined ? {} : { entries }),
    ...(paths === undefined ? {} : { paths }),
  });
}

/** How many first axes are stacked, layers and experts: each of their indices has its own source tensors, and is no vector. */
function stackAxes({ move: { shape, pieces }, sources }: MappedTensor): number {
  for (let axes = shape.length - 2; axes > 0; axes -= 1) {
    const rowSize = elementCount(shape.slice(axes));
    if (rowSize === 0 || sources.length < elementCount(shape.slice(0, axes))) continue;
    const isApart = pieces.every(({ targetOffset, sizes, targetStrides }) => {
      const last = sizes.reduce((at, size, axis) => at + (size - 1) * targetStrides[axis]!, targetOffset);
      return Math.floor(targetOffset / rowSize) === Math.floor(last / rowSize);
    });
    if (isApart) return axes;
  }
  return 0;
}

function safetensorsFiles(
  tensors: readonly TensorInfo[],
  { mapping, target, originals, metadata }: OutputRequest,
  maxShardSize: number | undefined,
): Outputs {
  if (target.fileName !== null) {
    const singleName = target.fileName;
    return { files: planSafetensors(tensors, { metadata, maxShardSize: Infinity, singleName }), notes: [] };
  }
  if (maxShardSize !== undefined) return { files: planSafetensors(tensors, { metadata, maxShardSize }), notes: [] };
  if (originals === null) return { files: planSafetensors(tensors, { metadata }), notes: [] };
  const { cast } = originals;
  const files = withUsualName(originals.files);
  if (holdsTensorsOf(mapping, files)) return { files: planSafetensorsAgain(tensors, files, { cast }), notes: [] };
  const notes = ["the source's files held other tensors than the target has: shards and metadata follow the defaults"];
  return { files: planSafetensors(tensors, { metadata }), notes };
}

/** A file without ending, as the Hub's cache names its blobs, would not be found again. */
function withUsualName({ files, index }: SafetensorsOrigin): SafetensorsOrigin {
  const [only] = files;
  const isBare = only !== undefined && files.length === 1 && index === null && !only.name.endsWith(".safetensors");
  return isBare ? { files: [{ ...only, name: DEFAULT_SINGLE_NAME }], index } : { files, index };
}

function holdsTensorsOf({ tensors }: Mapping, { files }: SafetensorsOrigin): boolean {
  const keys = new Set(files.flatMap((file) => file.keys));
  return keys.size === tensors.size && [...keys].every((key) => tensors.has(key));
}

/** The files that the target's tensors once lay in: those of the source, or those that the record tells of. */
export function originalsOf(source: Checkpoint, { mapping, record }: Route, isCast: boolean): Originals | null {
  if (record !== null) {
    if (record.safetensors === null) return null;
    const keys = new Map([...record.names].map(([key, stored]) => [stored, key]));
    const cast = [...mapping.tensors.values()].some(({ info, sources }) => {
      const before =
        record.casts.get(keys.get(info.key) ?? info.key) ?? mapping.source.tensors.get(sources[0] ?? "")?.dtype;
      return before !== undefined && before !== info.dtype;
    });
    return { files: record.safetensors, cast };
  }
  if (!isSameLayout(mapping.from, mapping.to) || source.safetensors === undefined) return null;
  return { files: source.safetensors, cast: isCast };
}

/** What all files say; transformers asks for `format: pt`. */
export function commonMetadata({ files }: Originals["files"]): Readonly<Record<string, string>> | null {
  const [first, ...others] = files.map(({ metadata }) => metadata);
  const same = others.every((metadata) => JSON.stringify(metadata) === JSON.stringify(first));
  return first !== undefined && same ? first : { format: "pt" };
}

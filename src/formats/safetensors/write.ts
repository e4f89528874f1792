// Plans safetensors files: new ones as the official Python libraries write them, or those of an earlier checkpoint again.

import { byteLengthOf, elementCount } from "../../base/dtype.ts";
import { InputError } from "../../base/errors.ts";
import type { SafetensorsOrigin } from "../checkpoint.ts";
import type { OutputFile } from "../output.ts";
import { encodeHeaderText, headerBytes, type Metadata, type NewTensor, placeTensors } from "./encode.ts";
import { type HeaderTensor, METADATA_KEY, parseHeaderText } from "./header.ts";
import { encodeIndex, parseIndex, type WeightMap } from "./index-file.ts";

/** `MAX_SHARD_SIZE` of huggingface_hub, decimal. */
export const DEFAULT_MAX_SHARD_BYTES = 5e9;
export const DEFAULT_SINGLE_NAME = "model.safetensors";

export interface SafetensorsOptions {
  /** `__metadata__` of every file; null leaves it out. transformers writes { format: "pt" }. */
  readonly metadata?: Metadata | null;
  /** In bytes of tensor data; a larger tensor gets a shard of its own. `Infinity` for one file. */
  readonly maxShardSize?: number;
  /** Name of the file when there is only one; shards are named after it. */
  readonly singleName?: string;
  /** For the index. transformers counts parameters, without buffers; the default is all elements. */
  readonly totalParameters?: number;
}

/**
 * Files for `tensors`, sharded in the order given as huggingface_hub does, each with the bytes that the official library
 * writes; with an index when there are several. Throws InputError for keys that the format cannot hold.
 */
export function planSafetensors(tensors: readonly NewTensor[], options: SafetensorsOptions = {}): OutputFile[] {
  const { metadata = null, maxShardSize = DEFAULT_MAX_SHARD_BYTES, singleName = DEFAULT_SINGLE_NAME } = options;
  checkTensors(tensors);
  const shards = splitIntoShards(tensors, maxShardSize);
  const [only] = shards;
  if (shards.length <= 1) return [planFile(singleName, only ?? [], metadata)];
  const files: OutputFile[] = [];
  const weightMap = new Map<string, string>();
  for (const [i, shard] of shards.entries()) {
    const name = shardFileName(singleName, i + 1, shards.length);
    for (const { key } of shard) weightMap.set(key, name);
    files.push(planFile(name, shard, metadata));
  }
  const index = encodeIndex(weightMap, options.totalParameters ?? countElements(tensors), countBytes(tensors));
  return [...files, planText(`${singleName}.index.json`, index)];
}

/**
 * The files of `origin` again, filled with `tensors`: same names, tensors a file, metadata and index. Where no tensor was
 * `cast`, headers and index are the very bytes of the origin, even those that the official writer would not make.
 * Throws InputError where the tensors are not those of the origin.
 */
export function planSafetensorsAgain(
  tensors: readonly NewTensor[],
  origin: SafetensorsOrigin,
  { cast = false }: { readonly cast?: boolean } = {},
): OutputFile[] {
  checkTensors(tensors);
  const byKey = new Map(tensors.map((tensor) => [tensor.key, tensor]));
  const weightMap = new Map<string, string>();
  const files = origin.files.map(({ name, keys, metadata, header }) => {
    for (const key of keys) weightMap.set(key, name);
    const shard = keys.map((key) => byKey.get(key) ?? failOrigin(key, name));
    const again = header === undefined ? undefined : placeByHeader(header, shard, name);
    return again ?? planFile(name, shard, metadata);
  });
  for (const { key } of tensors) if (!weightMap.has(key)) failOrigin(key, null);
  if (origin.index === null) return files;
  const keep = !cast && isIndexOf(origin.index, weightMap);
  const text = keep ? origin.index.text : encodeIndex(weightMap, countElements(tensors), countBytes(tensors));
  return [...files, planText(origin.index.name, text)];
}

function failOrigin(tensor: string, file: string | null): never {
  const problem = file === null ? "belongs to none of the recorded files" : "is recorded for this file and not at hand";
  throw new InputError(
    "SAFETENSORS_ORIGIN_MISMATCH",
    `${file ?? "record"}: tensor ${JSON.stringify(tensor)} ${problem}`,
    {
      tensor,
      ...(file === null ? {} : { file }),
      help: "the record describes another checkpoint: convert without it",
    },
  );
}

function checkTensors(tensors: readonly NewTensor[]): void {
  const seen = new Set<string>();
  for (const tensor of tensors) {
    const { key } = tensor;
    const refuse = (code: string, problem: string): never => {
      throw new InputError(code, `tensor ${JSON.stringify(key)}: ${problem}`, {
        tensor: key,
        help: "rename or leave out the tensor, or write another format",
      });
    };
    if (key === METADATA_KEY) refuse("SAFETENSORS_RESERVED_KEY", "safetensors keeps this name for its metadata");
    if (/\p{Surrogate}/u.test(key))
      refuse("SAFETENSORS_KEY_NOT_UNICODE", "safetensors cannot spell a name with a lone surrogate");
    if (seen.has(key)) refuse("SAFETENSORS_DUPLICATE_TENSOR", "planned twice");
    if (!Number.isInteger(byteLengthOf(tensor.dtype, tensor.shape))) {
      refuse(
        "SAFETENSORS_SUB_BYTE_MISALIGNED",
        `${tensor.dtype} [${tensor.shape.join(", ")}] does not end at a byte boundary`,
      );
    }
    seen.add(key);
  }
}

/** huggingface/huggingface_hub@v2.4.0:src/huggingface_hub/serialization/_base.py (`split_state_dict_into_shards_factory`). */
function splitIntoShards(tensors: readonly NewTensor[], maxShardSize: number): NewTensor[][] {
  const shards: NewTensor[][] = [];
  let shard: NewTensor[] = [];
  let shardBytes = 0;
  for (const tensor of tensors) {
    const bytes = byteLengthOf(tensor.dtype, tensor.shape);
    if (bytes > maxShardSize) {
      shards.push([tensor]);
      continue;
    }
    if (shardBytes + bytes > maxShardSize) {
      shards.push(shard);
      shard = [];
      shardBytes = 0;
    }
    shard.push(tensor);
    shardBytes += bytes;
  }
  if (shard.length > 0) shards.push(shard);
  return shards;
}

function shardFileName(singleName: string, number: number, of: number): string {
  const digits = (n: number) => String(n).padStart(5, "0");
  return singleName.replace(/(\.safetensors)?$/, `-${digits(number)}-of-${digits(of)}.safetensors`);
}

function planFile(name: string, tensors: readonly NewTensor[], metadata: Metadata | null): OutputFile {
  const placed = placeTensors(tensors);
  return planParts(name, encodeHeaderText(placed, metadata), placed);
}

/** Undefined when the header is not that of these tensors, because they were cast. */
function placeByHeader(header: string, tensors: readonly NewTensor[], name: string): OutputFile | undefined {
  const placed = parseHeaderText(header, name).tensors;
  const same = (tensor: HeaderTensor, i: number) => {
    const now = tensors[i];
    return now?.key === tensor.key && now.dtype === tensor.dtype && `${now.shape}` === `${tensor.shape}`;
  };
  if (placed.length !== tensors.length || !placed.every(same)) return undefined;
  return planParts(name, header, placed);
}

function planParts(name: string, header: string, placed: readonly HeaderTensor[]): OutputFile {
  const bytes = headerBytes(header, name);
  return {
    name,
    byteLength: bytes.length + (placed.at(-1)?.end ?? 0),
    parts: [
      { kind: "bytes", bytes },
      ...placed
        .filter(({ begin, end }) => end > begin)
        .map(({ key, begin, end }) => ({ kind: "tensor" as const, key, begin: 0, end: end - begin })),
    ],
  };
}

function planText(name: string, text: string): OutputFile {
  const bytes = Buffer.from(text);
  return { name, byteLength: bytes.length, parts: [{ kind: "bytes", bytes }] };
}

function isIndexOf({ name, text }: { name: string; text: string }, weightMap: WeightMap): boolean {
  const recorded = parseIndex(text, name);
  return recorded.size === weightMap.size && [...weightMap].every(([key, file]) => recorded.get(key) === file);
}

const countElements = (tensors: readonly NewTensor[]) =>
  tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0);
const countBytes = (tensors: readonly NewTensor[]) =>
  tensors.reduce((sum, tensor) => sum + byteLengthOf(tensor.dtype, tensor.shape), 0);

// Shards that torch's HuggingFaceStorageWriter leaves of each rank (`save_distributed=True`), before they are consolidated:
// `shard-00001-model-00001-of-00001.safetensors`. A tensor of such a file is a box of the tensor of that name.
// Source: pytorch/pytorch@v2.13.0:torch/distributed/checkpoint/hf_storage.py, _hf_utils.py, filesystem.py
import { bitsOf, type Dtype } from "../../base/dtype.ts";
import { InputError } from "../../base/errors.ts";
import { JsonDuplicateKeyError, JsonSyntaxError, type JsonValue, parseStrictJson } from "../../base/strict-json.ts";
import type { Checkpoint, TensorInfo } from "../checkpoint.ts";
import type { Folder, OpenFiles } from "../io/folder.ts";
import { joinPieces, type Piece, type PiecedTensor } from "../pieces.ts";
import { rowMajorStrides } from "../torch/strided.ts";
import { StoredRecord } from "../zip/stored-record.ts";
import { eachPlace, type Shard } from "./shard.ts";

const INFO = "DCP_SHARDING_INFO";
const NAME = /^shard-(\d+)-.+\.safetensors$/;

const rankOf = (name: string): number => Number(NAME.exec(name)?.[1] ?? 0);

/** Such shards in a folder; none where there are other safetensors files, such as consolidated ones, beside them. */
export function dcpShardsIn(folder: Folder): readonly string[] {
  const names = folder.list().filter((name) => /\.safetensors(?:\.index(?:\.[^.]+)?\.json)?$/.test(name));
  return names.every((name) => NAME.test(name)) ? names : [];
}

/** Refuses one of several files, whose tensors are parts. A consolidated file says the same of whole ones, at offset 0. */
export function refusePart({ name, file, tensors, origin: { metadata } }: Shard): void {
  if (metadata?.[INFO] === undefined) return;
  const info = infoOf(metadata, file.name);
  const boxes = tensors.map((tensor) => [tensor.key, offsetsOf(tensor, info, file.name)] as const);
  const part = boxes.find(([, offsets]) => offsets.some((n) => n > 0));
  if (part === undefined && !NAME.test(name)) return;
  throw new InputError("SHARD_ALONE", `${file.name}: holds one rank's part of each tensor, not whole tensors`, {
    file: file.name,
    expected: "the shards of all ranks in one folder",
    found: part === undefined ? name : `"${part[0]}" from [${part[1]}] on`,
    help: "give the folder with the shards of all ranks, or join them with torch's consolidate_safetensors_files",
  });
}

/** Joins the shards of all ranks. Throws InputError where a rank is missing or the parts do not make whole tensors. */
export function joinDcpShards(folder: Folder, shards: readonly Shard[], opened: OpenFiles): Checkpoint {
  checkRanks(folder, shards);
  const { path } = folder;
  return joinPieces({
    path,
    folder,
    files: shards.map(({ name }) => name),
    format: "safetensors",
    tensors: new Map([...piecesOf(shards)].map(([key, pieces]) => [key, wholeTensor(key, pieces, path)])),
    others: [],
    savedBy: new Set(shards.map(({ name }) => rankOf(name))).size,
    opened,
  });
}

interface ShardPiece extends Piece {
  readonly tensor: TensorInfo;
}

/** Ranks are numbered from 1; one that holds nothing writes no file, which is so of the last ones only. */
function checkRanks({ path }: Folder, shards: readonly Shard[]): void {
  const ranks = [...new Set(shards.map(({ name }) => rankOf(name)))].sort((a, b) => a - b);
  const missing = ranks.findIndex((rank, i) => rank !== i + 1);
  if (missing < 0 && ranks.length > 1) return;
  const which = missing < 0 ? 2 : missing + 1;
  throw new InputError(
    "SHARD_ALONE",
    `${path}: holds the shards of ${ranks.length === 1 ? "one rank" : "some ranks"} of several`,
    {
      file: path,
      expected: `shard-${String(which).padStart(5, "0")}-…, and those of all other ranks`,
      found: shards
        .map(({ name }) => name)
        .slice(0, 4)
        .join(", "),
      help: "copy the shards of all ranks into the folder, or join them where they are with torch's consolidate_safetensors_files",
    },
  );
}

function piecesOf(shards: readonly Shard[]): Map<string, ShardPiece[]> {
  const byKey = new Map<string, ShardPiece[]>();
  for (const shard of shards) {
    const { file } = shard;
    const info = infoOf(shard.origin.metadata, file.name);
    eachPlace(shard, (tensor, begin) => {
      const pieces = byKey.get(tensor.key) ?? [];
      byKey.set(tensor.key, pieces);
      pieces.push(pieceOf(file, tensor, begin, offsetsOf(tensor, info, file.name)));
    });
  }
  return byKey;
}

function pieceOf(file: Shard["file"], tensor: TensorInfo, begin: number, offsets: readonly number[]): ShardPiece {
  const { key, shape: sizes, byteLength } = tensor;
  const record = new StoredRecord(file, begin, byteLength, null, { file: file.name, tensor: key });
  const strided = { record, offset: 0, strides: rowMajorStrides(sizes) };
  return { file: file.name, offsets, sizes, tensor, open: () => strided };
}

function wholeTensor(key: string, pieces: readonly ShardPiece[], file: string): PiecedTensor {
  const { dtype, shape } = pieces[0]!.tensor;
  const other = pieces.find(({ tensor }) => tensor.dtype !== dtype || tensor.shape.length !== shape.length)?.tensor;
  const shown = ({ dtype, shape }: { readonly dtype: Dtype; readonly shape: readonly number[] }) =>
    `${dtype} [${shape}]`;
  if (other !== undefined || bitsOf(dtype) % 8 !== 0) {
    throw new InputError("SHARDS_DIFFER", `${file}: tensor ${JSON.stringify(key)} cannot be joined`, {
      tensor: key,
      file,
      expected: "parts of one dtype, of whole bytes",
      found: `${shown(pieces[0]!.tensor)}${other === undefined ? "" : ` and ${shown(other)}`}`,
      help: "the shards are of different saves: copy all of them again",
    });
  }
  const ends = shape.map((_, axis) =>
    pieces.reduce((end, { offsets, sizes }) => Math.max(end, offsets[axis]! + sizes[axis]!), 0),
  );
  return { dtype, shape: ends, pieces };
}

type ShardingInfo = ReadonlyMap<string, JsonValue>;

function offsetsOf({ key, shape }: TensorInfo, info: ShardingInfo, file: string): readonly number[] {
  const entry = info.get(key);
  const offsets = entry instanceof Map ? entry.get("saved_offsets") : undefined;
  const isOffset = (n: JsonValue): n is number => typeof n === "number" && Number.isSafeInteger(n) && n >= 0;
  if (Array.isArray(offsets) && offsets.length === shape.length && offsets.every(isOffset)) return offsets;
  throw new InputError("SHARDING_INFO", `${file}: ${INFO} does not say where tensor ${JSON.stringify(key)} lies`, {
    tensor: key,
    file,
    expected: `saved_offsets of ${shape.length} whole numbers`,
    found: Array.isArray(offsets) ? `[${offsets.slice(0, 8).map(String)}]` : "none",
    help: SAVE_AGAIN,
  });
}

/** `{ name: { "saved_offsets": […] } }` as text in the metadata. */
function infoOf(metadata: Shard["origin"]["metadata"], file: string): ShardingInfo {
  const text = metadata?.[INFO];
  const info = text === undefined ? null : parseInfo(text);
  if (info instanceof Map) return info;
  throw new InputError("SHARDING_INFO", `${file}: has no ${INFO} that is a JSON object`, {
    file,
    expected: `${INFO} in __metadata__`,
    found: text === undefined ? "none" : text.slice(0, 100),
    help: SAVE_AGAIN,
  });
}

const SAVE_AGAIN = "write the checkpoint again with torch's HuggingFaceStorageWriter";

function parseInfo(text: string): JsonValue {
  try {
    return parseStrictJson(text);
  } catch (error) {
    if (error instanceof JsonSyntaxError || error instanceof JsonDuplicateKeyError) return null;
    throw error;
  }
}

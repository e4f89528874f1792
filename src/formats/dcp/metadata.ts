// `.metadata` of torch.distributed.checkpoint: one pickle of a Metadata instance.
// Source: pytorch/pytorch@v2.13.0:torch/distributed/checkpoint/metadata.py, filesystem.py (_StorageInfo)
import type { Dtype } from "../../base/dtype.ts";
import { refuse, type Where } from "../io/refuse.ts";
import type { GlobalRule } from "../pickle/machine.ts";
import { unpickle } from "../pickle/unpickle.ts";
import {
  isObject,
  isSize,
  isSizes,
  isTuple,
  kindOf,
  PickleDict,
  PickleGlobal,
  PickleList,
  type PickleObject,
  type PickleTuple,
  type PickleValue,
} from "../pickle/value.ts";
import { DTYPE_OF_GLOBAL } from "../torch/dtype.ts";
import { orderedDict, torchSize } from "../torch/rebuild.ts";
import { dtypeUnsupported } from "../torch/tensor-types.ts";
import type { Box } from "./tiling.ts";

/** A box of a tensor and the payload that holds it. */
export interface DcpChunk extends Box {
  readonly payload: Payload;
}

/** Bytes [offset, offset + length) of a file. */
export interface Payload {
  /** Relative to the checkpoint's directory, with `/`. */
  readonly file: string;
  readonly offset: number;
  readonly length: number;
}

export interface DcpTensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly chunks: readonly DcpChunk[];
}

export interface DcpMetadata {
  readonly tensors: ReadonlyMap<string, DcpTensor>;
  /** Entries that are no tensors. */
  readonly bytes: ReadonlyMap<string, Payload>;
  readonly paths: ReadonlyMap<string, readonly (string | number)[]>;
}

export const METADATA_MODULE = "torch.distributed.checkpoint.metadata";
export const FILESYSTEM_MODULE = "torch.distributed.checkpoint.filesystem";
const MD = METADATA_MODULE;

const pathOf: GlobalRule = (args) => (args.every((part) => typeof part === "string") ? args.join("/") : undefined);

const GLOBALS: ReadonlyMap<string, GlobalRule> = new Map<string, GlobalRule>([
  ...[
    "Metadata",
    "TensorStorageMetadata",
    "BytesStorageMetadata",
    "ChunkStorageMetadata",
    "TensorProperties",
    "MetadataIndex",
    "StorageMeta",
    "_MEM_FORMAT_ENCODING",
  ].map((name) => [`${MD} ${name}`, "object"] as const),
  [`${FILESYSTEM_MODULE} _StorageInfo`, "object"],
  ["torch.serialization _get_layout", "object"],
  ["torch Size", torchSize],
  ["collections OrderedDict", orderedDict],
  ...["pathlib", "pathlib._local"].flatMap((module) =>
    ["PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"].map(
      (name) => [`${module} ${name}`, pathOf] as const,
    ),
  ),
  ...[...DTYPE_OF_GLOBAL.keys()].map((name) => [name, "name"] as const),
]);

/**
 * Parses one metadata file; whether its payloads exist and its chunks tile their tensors is for the caller to check.
 * @throws InputError
 */
export function parseMetadata(bytes: Uint8Array, where: Where): DcpMetadata {
  const { value, end } = unpickle(bytes, { where, globals: GLOBALS });
  if (end !== bytes.length) throw refuse(where, "PICKLE_TRAILING", "data follow the end of the pickle");
  if (!isObject(value, `${MD} Metadata`))
    throw refuse(where, "DCP_METADATA", `is a pickled ${kindOf(value)}, not a Metadata`);
  return new Parser(where).metadata(value);
}

class Parser {
  constructor(private readonly where: Where) {}

  metadata(metadata: PickleObject): DcpMetadata {
    const storage = this.storageData(metadata.field("storage_data"));
    const tensors = new Map<string, DcpTensor>();
    const bytes = new Map<string, Payload>();
    for (const [name, entry] of this.entries(metadata.field("state_dict_metadata"), "state_dict_metadata")) {
      const payloads = storage.get(name) ?? new Map<string, Payload>();
      storage.delete(name);
      if (isObject(entry, `${MD} BytesStorageMetadata`)) bytes.set(name, this.bytesPayload(name, payloads));
      else if (isObject(entry, `${MD} TensorStorageMetadata`)) tensors.set(name, this.tensor(name, entry, payloads));
      else throw this.refuse("DCP_ENTRY", `has a ${kindOf(entry)} as the description of ${JSON.stringify(name)}`);
    }
    for (const name of storage.keys()) {
      throw this.refuse("DCP_ORPHAN", "has data for a name that it does not describe", name);
    }
    return { tensors, bytes, paths: this.paths(metadata.field("planner_data")) };
  }

  /** Payloads by name and then by offset, as `MetadataIndex` is compared in torch: the position hint does not count. */
  private storageData(value: PickleValue | undefined): Map<string, Map<string, Payload>> {
    if (!(value instanceof PickleDict)) throw this.refuse("DCP_METADATA", "has no storage_data");
    const storage = new Map<string, Map<string, Payload>>();
    for (const [index, info] of value.entries()) {
      const name = isObject(index, `${MD} MetadataIndex`) ? index.field("fqn") : undefined;
      if (!isObject(index, `${MD} MetadataIndex`) || typeof name !== "string") {
        throw this.refuse("DCP_INDEX", `has a ${kindOf(index)} as a key of storage_data`);
      }
      const offset = index.field("offset") ?? null;
      if (offset !== null && !isSizes(offset))
        throw this.refuse("DCP_INDEX", "has a chunk with an impossible offset", name);
      const key = offset === null ? NO_OFFSET : offset.join();
      const payloads = storage.get(name) ?? new Map<string, Payload>();
      if (payloads.has(key)) throw this.refuse("DCP_INDEX", `has two payloads for the chunk at [${key}]`, name);
      storage.set(name, payloads.set(key, this.payload(name, info)));
    }
    return storage;
  }

  private payload(name: string, info: PickleValue): Payload {
    if (!isObject(info, `${FILESYSTEM_MODULE} _StorageInfo`)) {
      throw this.refuse("DCP_STORAGE_INFO", `has a ${kindOf(info)} instead of a place in a file`, name);
    }
    const [file, offset, length] = ["relative_path", "offset", "length"].map((field) => info.field(field));
    if (typeof file !== "string" || !isSize(offset) || !isSize(length)) {
      throw this.refuse("DCP_STORAGE_INFO", "has a payload with an impossible offset or length", name);
    }
    const transforms = info.field("transform_descriptors") ?? null;
    const list = transforms instanceof PickleList ? transforms.items : isTuple(transforms) ? transforms : [transforms];
    if (transforms !== null && list.length > 0) {
      throw this.refuse(
        "DCP_TRANSFORM",
        `its payload went through ${list.map(valueText).join(", ")}, which is not read here`,
        name,
        {
          help: "load the checkpoint with torch.distributed.checkpoint and save it without transforms",
        },
      );
    }
    return { file: this.insideFolder(file, name), offset, length };
  }

  /** A path that leaves the folder, on any system, is refused before anything is opened. */
  private insideFolder(file: string, name: string): string {
    const parts = file.split(/[/\\]/);
    const escapes = parts.includes("..") || parts[0] === "" || /^[A-Za-z]:/.test(file) || file.includes("\0");
    if (escapes || parts.every((part) => part === "" || part === ".")) {
      throw this.refuse(
        "DCP_PATH",
        `keeps it in ${JSON.stringify(file)}, which is not inside the checkpoint's folder`,
        name,
        {
          found: file,
          help: "do not use this checkpoint: torch never writes such a path",
        },
      );
    }
    return file;
  }

  private bytesPayload(name: string, payloads: ReadonlyMap<string, Payload>): Payload {
    const payload = payloads.get(NO_OFFSET);
    if (payload === undefined || payloads.size > 1) {
      throw this.refuse("DCP_CHUNKS", "has no single payload for an entry that is no tensor", name);
    }
    return payload;
  }

  private tensor(name: string, entry: PickleObject, payloads: Map<string, Payload>): DcpTensor {
    const shape = entry.field("size");
    const chunkList = entry.field("chunks");
    if (!isSizes(shape)) throw this.refuse("DCP_ENTRY", "has a shape that is no list of sizes", name);
    if (!(chunkList instanceof PickleList)) throw this.refuse("DCP_ENTRY", "has no list of chunks", name);
    const dtype = this.dtype(name, entry.field("properties"));
    const boxes = chunkList.items.map((item) => this.box(name, item));
    // An empty chunk may begin where another chunk does. The payload there belongs to the other.
    const chunks = [...boxes.filter((box) => !isEmpty(box)), ...boxes.filter(isEmpty)]
      .map((box) => ({ ...box, payload: this.take(name, box, payloads) }))
      .filter(({ payload }) => payload !== NOT_STORED);
    for (const offset of payloads.keys()) {
      throw this.refuse("DCP_ORPHAN", `has data at [${offset}] that none of its chunks describes`, name);
    }
    return { dtype, shape, chunks };
  }

  private box(name: string, chunk: PickleValue): Box {
    if (isObject(chunk, `${MD} ChunkStorageMetadata`)) {
      const offsets = chunk.field("offsets");
      const sizes = chunk.field("sizes");
      if (isSizes(offsets) && isSizes(sizes)) return { offsets, sizes };
    }
    throw this.refuse("DCP_CHUNKS", "has a chunk whose offsets or sizes are none", name);
  }

  /** The payload of a chunk. Empty chunks of one offset are stored once. */
  private take(name: string, box: Box, payloads: Map<string, Payload>): Payload {
    const key = box.offsets.join();
    const payload = payloads.get(key);
    payloads.delete(key);
    if (payload !== undefined) return payload;
    if (isEmpty(box)) return NOT_STORED;
    throw this.refuse("DCP_CHUNKS", `has no data for the chunk at [${key}]`, name, {
      expected: "a payload for every chunk, once",
    });
  }

  private dtype(name: string, properties: PickleValue | undefined): Dtype {
    const state = isObject(properties, `${MD} TensorProperties`) ? properties.state : undefined;
    const global = isTuple(state) ? state[0] : state instanceof PickleDict ? state.get("dtype") : undefined;
    const dtype = global instanceof PickleGlobal ? DTYPE_OF_GLOBAL.get(global.name) : undefined;
    const unsupported =
      global instanceof PickleGlobal ? dtypeUnsupported(global.name, { ...this.where, tensor: name }) : null;
    if (unsupported !== null) throw unsupported;
    if (dtype === undefined) throw this.refuse("DCP_DTYPE", `has a ${kindOf(global)} as its dtype`, name);
    return dtype;
  }

  private paths(planner: PickleValue | undefined): Map<string, readonly (string | number)[]> {
    const paths = new Map<string, readonly (string | number)[]>();
    if (planner === undefined || planner === null) return paths;
    for (const [name, path] of this.entries(planner, "planner_data")) {
      if (!isPath(path))
        throw this.refuse("DCP_PLANNER_DATA", "has a path in planner_data that is no list of names", name);
      paths.set(name, path);
    }
    return paths;
  }

  private *entries(value: PickleValue | undefined, field: string): Generator<[string, PickleValue]> {
    if (!(value instanceof PickleDict)) throw this.refuse("DCP_METADATA", `has no ${field}`);
    const seen = new Set<string>();
    for (const [name, entry] of value.entries()) {
      if (typeof name !== "string") throw this.refuse("DCP_METADATA", `has a ${kindOf(name)} as a name in ${field}`);
      if (seen.has(name)) throw this.refuse("DCP_METADATA", `has a name twice in ${field}`, name);
      seen.add(name);
      yield [name, entry];
    }
  }

  private refuse(
    code: string,
    what: string,
    tensor?: string,
    details: { expected?: string; found?: string; help?: string } = {},
  ) {
    return refuse(tensor === undefined ? this.where : { ...this.where, tensor }, code, what, details);
  }
}

const NO_OFFSET = "none";
const NOT_STORED: Payload = { file: "", offset: 0, length: 0 };

const isEmpty = (box: Box): boolean => box.sizes.includes(0);

const valueText = (value: PickleValue): string => (typeof value === "string" ? JSON.stringify(value) : kindOf(value));

const isPath = (value: PickleTuple | PickleValue): value is readonly (string | number)[] =>
  isTuple(value) && value.every((part) => typeof part === "string" || isSize(part));

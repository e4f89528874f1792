// `.metadata`: what FileSystemReader of torch.distributed.checkpoint unpickles.
// Source: pytorch/pytorch@v2.13.0:torch/distributed/checkpoint/metadata.py
import { type Fields, PickleWriter } from "../pickle/write.ts";
import { type TargetTensor, torchDtypeOf } from "../pt/plan.ts";
import { type DcpChunk, FILESYSTEM_MODULE, METADATA_MODULE } from "./metadata.ts";
import type { Box } from "./tiling.ts";

const MD = METADATA_MODULE;

export interface PlannedTensor extends TargetTensor {
  readonly chunks: readonly DcpChunk[];
}

/** A value that is no tensor. */
export interface PlannedEntry {
  readonly key: string;
  readonly payload: DcpChunk["payload"];
}

/** The pickle of a Metadata for the given tensors. It holds no path and no date, so that equal input gives equal bytes. */
export function writeMetadata(
  tensors: readonly PlannedTensor[],
  paths: Paths = new Map(),
  entries: readonly PlannedEntry[] = [],
): Uint8Array {
  const w = new PickleWriter();
  w.instance(`${MD} Metadata`, METADATA, { tensors, paths, entries });
  return w.end();
}

type Paths = ReadonlyMap<string, readonly (string | number)[]>;

interface Described {
  readonly tensors: readonly PlannedTensor[];
  readonly paths: Paths;
  readonly entries: readonly PlannedEntry[];
}

const METADATA: Fields<Described> = [
  [
    "state_dict_metadata",
    (w, { tensors, entries }) =>
      w.dict([...tensors, ...entries], (each) => {
        w.text(each.key);
        if ("chunks" in each) w.instance(`${MD} TensorStorageMetadata`, TENSOR, each);
        else w.build(`${MD} BytesStorageMetadata`);
      }),
  ],
  [
    "planner_data",
    (w, { tensors, paths, entries }) =>
      w.dict([...tensors, ...entries], ({ key }) => {
        w.text(key);
        w.tuple(
          ...(paths.get(key) ?? [key]).map((part) => () => (typeof part === "string" ? w.text(part) : w.int(part))),
        );
      }),
  ],
  [
    "storage_data",
    (w, described) =>
      w.dict(placesOf(described), (place) => {
        w.instance(`${MD} MetadataIndex`, INDEX, place);
        w.instance(`${FILESYSTEM_MODULE} _StorageInfo`, STORAGE_INFO, place.payload);
      }),
  ],
  ["storage_meta", (w) => w.instance(`${MD} StorageMeta`, STORAGE_META, null)],
  ["version", (w) => w.text("1.0.0")],
];

/** What a payload holds: a chunk and which one of its tensor it is, or no tensor. */
interface Place extends PlannedEntry {
  readonly index: number | null;
  readonly offsets: readonly number[] | null;
}

function* placesOf({ tensors, entries }: Described): Generator<Place> {
  for (const { key, chunks } of tensors)
    for (const [index, { offsets, payload }] of chunks.entries()) yield { key, index, offsets, payload };
  for (const { key, payload } of entries) yield { key, index: null, offsets: null, payload };
}

const INDEX: Fields<Place> = [
  ["fqn", (w, { key }) => w.text(key)],
  ["index", (w, { index }) => (index === null ? w.none() : w.int(index))],
  ["offset", (w, { offsets }) => (offsets === null ? w.none() : writeSize(w, offsets))],
];

const STORAGE_INFO: Fields<DcpChunk["payload"]> = [
  ["relative_path", (w, { file }) => w.text(file)],
  ["offset", (w, { offset }) => w.int(offset)],
  ["length", (w, { length }) => w.int(length)],
];

const STORAGE_META: Fields<null> = [
  ["checkpoint_id", (w) => w.none()],
  ["save_id", (w) => w.none()],
  ["load_id", (w) => w.none()],
  ["modules", (w) => w.list([], () => {})],
];

const TENSOR: Fields<PlannedTensor> = [
  ["properties", (w, tensor) => w.build(`${MD} TensorProperties`, () => writeProperties(w, tensor))],
  ["size", (w, { shape }) => writeSize(w, shape)],
  ["chunks", (w, { chunks }) => w.list(chunks, (chunk) => w.instance(`${MD} ChunkStorageMetadata`, CHUNK, chunk))],
];

const CHUNK: Fields<Box> = [
  ["offsets", (w, { offsets }) => writeSize(w, offsets)],
  ["sizes", (w, { sizes }) => writeSize(w, sizes)],
];

function writeProperties(w: PickleWriter, tensor: PlannedTensor): void {
  w.tuple(
    () => w.global(`torch ${torchDtypeOf(tensor).name}`),
    () => w.call("torch.serialization _get_layout", () => w.text("torch.strided")),
    () => w.bool(false),
    () => w.call(`${MD} _MEM_FORMAT_ENCODING`, () => w.int(0)),
    () => w.bool(false),
  );
}

const writeSize = (w: PickleWriter, sizes: readonly number[]): void => w.call("torch Size", () => w.ints(sizes));

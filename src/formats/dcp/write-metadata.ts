// `.metadata`: what FileSystemReader of torch.distributed.checkpoint unpickles.
// Source: pytorch/pytorch@v2.13.0:torch/distributed/checkpoint/metadata.py
import { PickleWriter } from "../pickle/write.ts";
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
  paths: ReadonlyMap<string, readonly (string | number)[]> = new Map(),
  entries: readonly PlannedEntry[] = [],
): Uint8Array {
  const w = new PickleWriter();
  const chunks = tensors.flatMap(({ key, chunks }) => chunks.map((chunk, index) => ({ key, index, ...chunk })));
  w.instance(`${MD} Metadata`, {
    state_dict_metadata: () =>
      w.dict([...tensors, ...entries], (each) => {
        if ("chunks" in each) writeTensor(w, each);
        else {
          w.text(each.key);
          w.instance(`${MD} BytesStorageMetadata`);
        }
      }),
    planner_data: () =>
      w.dict([...tensors, ...entries], ({ key }) => {
        w.text(key);
        w.tuple(
          ...(paths.get(key) ?? [key]).map((part) => () => (typeof part === "string" ? w.text(part) : w.int(part))),
        );
      }),
    storage_data: () =>
      w.dict<(typeof chunks)[number] | PlannedEntry>([...chunks, ...entries], (each) => {
        const { payload } = each;
        w.instance(`${MD} MetadataIndex`, {
          fqn: () => w.text(each.key),
          index: () => ("index" in each ? w.int(each.index) : w.none()),
          offset: () => ("offsets" in each ? writeSize(w, each.offsets) : w.none()),
        });
        w.instance(`${FILESYSTEM_MODULE} _StorageInfo`, {
          relative_path: () => w.text(payload.file),
          offset: () => w.int(payload.offset),
          length: () => w.int(payload.length),
        });
      }),
    storage_meta: () =>
      w.instance(`${MD} StorageMeta`, {
        checkpoint_id: () => w.none(),
        save_id: () => w.none(),
        load_id: () => w.none(),
        modules: () => w.list([], () => {}),
      }),
    version: () => w.text("1.0.0"),
  });
  return w.end();
}

function writeTensor(w: PickleWriter, tensor: PlannedTensor): void {
  w.text(tensor.key);
  w.instance(`${MD} TensorStorageMetadata`, {
    properties: () =>
      w.build(`${MD} TensorProperties`, () =>
        w.tuple(
          () => w.global(`torch ${torchDtypeOf(tensor).name}`),
          () => w.call("torch.serialization _get_layout", () => w.text("torch.strided")),
          () => w.bool(false),
          () => w.call(`${MD} _MEM_FORMAT_ENCODING`, () => w.int(0)),
          () => w.bool(false),
        ),
      ),
    size: () => writeSize(w, tensor.shape),
    chunks: () => w.list(tensor.chunks, (chunk) => writeChunk(w, chunk)),
  });
}

function writeChunk(w: PickleWriter, { offsets, sizes }: Box): void {
  w.instance(`${MD} ChunkStorageMetadata`, {
    offsets: () => writeSize(w, offsets),
    sizes: () => writeSize(w, sizes),
  });
}

const writeSize = (w: PickleWriter, sizes: readonly number[]): void => w.call("torch Size", () => w.ints(sizes));

import { bitsOf, byteLengthOf } from "../../base/dtype.ts";
import type { Checkpoint, OtherEntry, TensorInfo } from "../checkpoint.ts";
import { type ByteSource, subSource, withBufferedEnds } from "../io/byte-source.ts";
import { DiskFolder } from "../io/disk-folder.ts";
import { type Folder, OpenFiles } from "../io/folder.ts";
import { refuse, type Where } from "../io/refuse.ts";
import { kindOf, type PickleValue } from "../pickle/value.ts";
import { openArchive, storageRecord } from "../torch/archive.ts";
import { ChunkedTensor, type TensorChunk } from "../torch/chunked-tensor.ts";
import { isTensor, TENSOR_GLOBALS, tensorView } from "../torch/rebuild.ts";
import type { StridedRecord } from "../torch/strided.ts";
import { type DcpFolder, readFolder } from "./folder.ts";
import type { DcpChunk, DcpTensor } from "./metadata.ts";

/**
 * Opens a folder of torch.distributed.checkpoint from its metadata alone; a payload is opened when it is first read.
 * Entries that are no tensors are listed in `others`, never read.
 * @throws InputError
 */
export function openDcp(place: string | Folder): Checkpoint {
  const folder = typeof place === "string" ? new DiskFolder(place) : place;
  const files = new OpenFiles(folder);
  try {
    return new DcpCheckpoint(folder, files, readFolder(folder, files));
  } catch (error) {
    files.close();
    throw error;
  }
}

class DcpCheckpoint implements Checkpoint {
  readonly format = "dcp";
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly others: readonly OtherEntry[];
  readonly paths;
  readonly chunks: number;
  readonly path: string;
  readonly files: readonly string[];
  private readonly data = new Map<string, { tensor: ChunkedTensor; chunks: readonly TensorChunk[] }>();

  constructor(
    readonly folder: Folder,
    private readonly opened: OpenFiles,
    dcp: DcpFolder,
  ) {
    this.path = folder.path;
    this.files = [...dcp.metadataNames, ...dcp.sources.keys()];
    const tensors = new Map<string, TensorInfo>();
    for (const [key, tensor] of dcp.tensors) {
      const { dtype, shape } = tensor;
      const width = bitsOf(dtype) / 8;
      tensors.set(key, { key, dtype, shape, byteLength: byteLengthOf(dtype, shape) });
      const chunks = tensor.chunks.map((chunk) => lazyChunk(key, tensor, chunk, dcp));
      this.data.set(key, { tensor: new ChunkedTensor(shape, width, chunks), chunks });
    }
    this.tensors = tensors;
    this.others = [...dcp.bytes.keys()].map((key) => ({ key, kind: "bytes" }));
    this.paths = dcp.paths;
    this.chunks = [...dcp.tensors.values()].reduce((sum, { chunks }) => sum + chunks.length, 0);
  }

  read(key: string, begin: number, target: Uint8Array): void {
    const info = this.tensors.get(key);
    const data = this.data.get(key);
    if (info === undefined || data === undefined) throw new Error(`${this.path} has no tensor ${key}`);
    if (begin < 0 || begin + target.length > info.byteLength) throw new Error(`a read beyond the end of ${key}`);
    data.tensor.read(begin, target);
  }

  verify(keys: Iterable<string> = this.tensors.keys()): void {
    for (const key of keys) for (const chunk of this.data.get(key)?.chunks ?? []) chunk.open().record.verify();
    this.opened.check();
  }

  close(): void {
    this.opened.close();
  }
}

function lazyChunk(tensor: string, expected: DcpTensor, chunk: DcpChunk, folder: DcpFolder): TensorChunk {
  let opened: StridedRecord | undefined;
  const open = (): StridedRecord => {
    opened ??= openPayload(tensor, expected, chunk, folder.sources.get(chunk.payload.file)!);
    return opened;
  };
  return { offsets: chunk.offsets, sizes: chunk.sizes, open };
}

/** Both ends of a payload: the pickle and other small records in front, the directory behind. */
const END_BYTES = 1024;

/** A payload is `torch.save(chunk)`: a zip of its own, whose offsets are relative to its own start. */
function openPayload(tensor: string, expected: DcpTensor, chunk: DcpChunk, file: ByteSource): StridedRecord {
  const payload = subSource(file, chunk.payload.offset, chunk.payload.length);
  return withBufferedEnds(payload, END_BYTES, (source) => parsePayload(tensor, expected, chunk, source));
}

function parsePayload(tensor: string, expected: DcpTensor, chunk: DcpChunk, source: ByteSource): StridedRecord {
  const where: Where = { file: source.name, tensor };
  const archive = openArchive(source, TENSOR_GLOBALS, where);
  const value: PickleValue = archive.value;
  if (!isTensor(value)) throw refuse(where, "DCP_PAYLOAD", `its payload holds a ${kindOf(value)} instead of a tensor`);
  const view = tensorView(value, where);
  if (view.dtype !== expected.dtype) {
    throw refuse(where, "DCP_PAYLOAD_DTYPE", "its payload has another dtype than .metadata says", {
      expected: expected.dtype,
      found: view.dtype,
      help: "do not use this checkpoint: torch itself would cast the numbers without a word",
    });
  }
  if (`${view.shape}` !== `${chunk.sizes}`) {
    throw refuse(where, "DCP_PAYLOAD_SHAPE", "its payload has another shape than .metadata says", {
      expected: `[${chunk.sizes}]`,
      found: `[${view.shape}]`,
    });
  }
  return { record: storageRecord(archive, view.storage, where), offset: view.offset, strides: view.strides };
}

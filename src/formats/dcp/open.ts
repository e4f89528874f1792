import { bitsOf, byteLengthOf } from "../../base/dtype.ts";
import { headersOnly } from "../../base/witness.ts";
import type { Checkpoint, OtherEntry, RunArguments, TensorInfo } from "../checkpoint.ts";
import { type ByteSource, readBytes, subSource, withBufferedEnds } from "../io/byte-source.ts";
import { DiskFolder } from "../io/disk-folder.ts";
import { type Folder, OpenFiles } from "../io/folder.ts";
import { refuse, type Where } from "../io/refuse.ts";
import { kindOf, type PickleValue } from "../pickle/value.ts";
import type { Path } from "../pt/flatten.ts";
import type { StoredTensors } from "../pt/stored-tensors.ts";
import { openArchive, storageRecord } from "../torch/archive.ts";
import { ChunkedTensor, type TensorChunk } from "../torch/chunked-tensor.ts";
import { TENSOR_GLOBALS, tensorView } from "../torch/rebuild.ts";
import type { StridedRecord } from "../torch/strided.ts";
import { isTensor } from "../torch/tensor-types.ts";
import { NO_CHECKSUMS, openZip } from "../zip/reader.ts";
import type { StoredRecord } from "../zip/stored-record.ts";
import { openEntry, refuseTaken } from "./entry.ts";
import { type DcpFolder, readFolder } from "./folder.ts";
import type { DcpChunk, DcpTensor } from "./metadata.ts";
import { COMMON_ENTRY, runArguments } from "./run-arguments.ts";

/**
 * Opens a folder of torch.distributed.checkpoint from its metadata, and from the pickles of entries that are no tensors but
 * hold some. The payload of a tensor is opened when it is first read.
 * @param companions where config and tokenizer lie, where that is not in the folder
 * @throws InputError
 */
export function openDcp(place: string | Folder, companions?: Folder): Checkpoint {
  const folder = typeof place === "string" ? new DiskFolder(place) : place;
  const files = new OpenFiles(folder);
  try {
    return new DcpCheckpoint(folder, files, readFolder(folder, files), companions);
  } catch (error) {
    files.close();
    throw error;
  }
}

/** Entries that cannot be looked into, each of which is kept with its reason. No trainer leaves more than some. */
const MOST_FAULTS = 1000;

class DcpCheckpoint implements Checkpoint {
  readonly format = "dcp";
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly others: readonly OtherEntry[];
  readonly entries: ReadonlyMap<string, () => Uint8Array>;
  readonly paths: ReadonlyMap<string, Path>;
  readonly chunks: number;
  readonly path: string;
  readonly files: readonly string[];
  readonly companions?: Folder;
  private readonly data = new Map<string, { tensor: ChunkedTensor; chunks: readonly TensorChunk[] }>();
  /** Tensors inside entries, by their names. */
  private readonly inside = new Map<string, StoredTensors>();
  private readonly records = new Set<StoredRecord>();

  constructor(
    readonly folder: Folder,
    private readonly opened: OpenFiles,
    private readonly dcp: DcpFolder,
    companions: Folder | undefined,
  ) {
    if (companions !== undefined) this.companions = companions;
    this.path = folder.path;
    this.files = [...dcp.metadataNames, ...dcp.sources.keys()];
    const tensors = new Map<string, TensorInfo>();
    for (const [key, tensor] of dcp.tensors) {
      const { dtype, shape } = tensor;
      const width = bitsOf(dtype) / 8;
      tensors.set(key, { key, dtype, shape, byteLength: byteLengthOf(dtype, shape) });
      const chunks = tensor.chunks.map((chunk) => lazyChunk(key, tensor, chunk, dcp, this.records));
      this.data.set(key, { tensor: new ChunkedTensor(shape, width, chunks), chunks });
    }
    const paths = new Map(dcp.paths);
    let faults = 0;
    this.others = [...dcp.bytes].flatMap(([key, { file, offset, length }]) => {
      const payload = subSource(dcp.sources.get(file)!, offset, length);
      const entry = openEntry(key, paths.get(key) ?? [key], payload);
      for (const [name, path] of entry.paths) paths.set(name, path);
      if (entry.data !== null) this.addTensors(entry.data, tensors, file);
      faults += entry.others.filter(({ fault }) => fault !== undefined).length;
      if (faults > MOST_FAULTS) throw entry.others.find(({ fault }) => fault !== undefined)?.fault;
      return entry.others;
    });
    this.tensors = tensors;
    this.entries = new Map(
      [...dcp.bytes].map(([key, { file, offset, length }]) => [
        key,
        () => readBytes(dcp.sources.get(file)!, offset, length),
      ]),
    );
    this.paths = paths;
    this.chunks = [...dcp.tensors.values()].reduce((sum, { chunks }) => sum + chunks.length, this.inside.size);
  }

  private addTensors(data: StoredTensors, tensors: Map<string, TensorInfo>, file: string): void {
    for (const [key, info] of data.tensors) {
      refuseTaken(key, tensors, file);
      tensors.set(key, info);
      this.inside.set(key, data);
    }
  }

  read(key: string, begin: number, target: Uint8Array): void {
    const inside = this.inside.get(key);
    if (inside !== undefined) {
      inside.read(key, begin, target);
      return;
    }
    const info = this.tensors.get(key);
    const data = this.data.get(key);
    if (info === undefined || data === undefined) throw new Error(`${this.path} has no tensor ${key}`);
    if (begin < 0 || begin + target.length > info.byteLength) throw new Error(`a read beyond the end of ${key}`);
    data.tensor.read(begin, target);
  }

  run(): RunArguments | null {
    const [entry = null] = [...this.dcp.bytes].flatMap(([key, { file, offset, length }]) =>
      COMMON_ENTRY.test(key) ? [subSource(this.dcp.sources.get(file)!, offset, length)] : [],
    );
    return runArguments(this.folder, entry);
  }

  verify(keys: Iterable<string> = this.tensors.keys()): void {
    for (const key of keys) {
      for (const chunk of this.data.get(key)?.chunks ?? []) chunk.open().record.verify();
      this.inside.get(key)?.verify(key);
    }
    this.opened.check();
  }

  /** Tensors of one kind have one dtype, as many dims, and names that differ in numbers alone. */
  sample(): void {
    const kinds = new Set<string>();
    for (const { key, dtype, shape } of this.tensors.values()) {
      const chunks = this.data.get(key)?.chunks ?? [];
      const kind = `${dtype} ${shape.length} ${key.replaceAll(/\d+/g, "N")}`;
      if (chunks.length > 0 && !kinds.has(kind)) headersOnly(() => chunks[0]!.open());
      kinds.add(kind);
    }
  }

  notChecked(): string | null {
    const hasAll =
      [...this.records].every(({ hasChecksum }) => hasChecksum) &&
      [...this.inside.values()].every(({ hasChecksums }) => hasChecksums);
    return hasAll ? null : NO_CHECKSUMS;
  }

  close(): void {
    this.opened.close();
  }
}

function lazyChunk(
  tensor: string,
  expected: DcpTensor,
  chunk: DcpChunk,
  folder: DcpFolder,
  records: Set<StoredRecord>,
): TensorChunk {
  let opened: StridedRecord | undefined;
  const open = (): StridedRecord => {
    if (opened !== undefined) return opened;
    opened = openPayload(tensor, expected, chunk, folder.sources.get(chunk.payload.file)!);
    records.add(opened.record);
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
  const archive = openArchive(openZip(source, where), TENSOR_GLOBALS);
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

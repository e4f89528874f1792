import { bitsOf, byteLengthOf } from "../../base/dtype.ts";
import type { Checkpoint, TensorInfo } from "../checkpoint.ts";
import { type ByteSource, readBytes } from "../io/byte-source.ts";
import { locate, type PathOrLocation } from "../io/disk-folder.ts";
import { notAFile } from "../io/file-faults.ts";
import type { Folder, SourceFile } from "../io/folder.ts";
import { refuse, type Where } from "../io/refuse.ts";
import type { GlobalRule } from "../pickle/machine.ts";
import { openArchive, storageRecord } from "../torch/archive.ts";
import { ChunkedTensor } from "../torch/chunked-tensor.ts";
import { type StorageRef, TENSOR_GLOBALS, type TensorView, tensorView } from "../torch/rebuild.ts";
import { StoredRecord } from "../zip/stored-record.ts";
import { type Flattened, flatten } from "./flatten.ts";
import { openLegacy } from "./legacy.ts";

/** _codecs.encode(text, "latin1"): bytes, as pickle protocol 2 spells them. */
const latin1Bytes: GlobalRule = ([text, encoding]) =>
  typeof text === "string" && encoding === "latin1" ? Buffer.from(text, "latin1") : undefined;

/** What else stands in a trainer's state: plain data of Python and torch. */
const FILE_GLOBALS: ReadonlyMap<string, GlobalRule> = new Map<string, GlobalRule>([
  ...TENSOR_GLOBALS,
  ["torch device", "object"],
  ["_codecs encode", latin1Bytes],
]);

const ZIP_MAGIC = [0x50, 0x4b, 3, 4];
const PICKLE_MAGIC = 0x80;
/** Values that may be visited beyond one a byte of the pickle. */
const BUDGET_FLOOR = 10_000;

/**
 * Opens a file of torch.save, zip or legacy, without reading its data. Names are flattened with `.`, list items by index.
 * @throws InputError for anything but plain data and dense tensors of known dtypes
 */
export function openTorchFile(at: PathOrLocation): Checkpoint {
  const { path, folder, file } = locate(at);
  if (file === null) throw notAFile(path);
  const source = folder.open(file, path);
  try {
    const { flat, storage } = readObject(source, { file: path });
    return new TorchCheckpoint(folder, file, source, flat, storage);
  } catch (error) {
    source.close();
    throw error;
  }
}

type OpenStorage = (ref: StorageRef, where: Where) => StoredRecord;

function readObject(source: ByteSource, where: Where): { flat: Flattened; storage: OpenStorage } {
  const head = readBytes(source, 0, Math.min(4, source.byteLength));
  if (ZIP_MAGIC.every((byte, i) => head[i] === byte)) {
    const archive = openArchive(source, FILE_GLOBALS, where);
    const flat = flatten(archive.value, archive.pickleLength + BUDGET_FLOOR, where);
    return { flat, storage: (ref, of) => storageRecord(archive, ref, of) };
  }
  if (head[0] !== PICKLE_MAGIC) {
    throw refuse(where, "TORCH_FORMAT", "is neither a zip file nor a pickle of torch.save", {
      help: "give a file that torch.save wrote; archives of torch before 0.2 are not read",
    });
  }
  const legacy = openLegacy(source, FILE_GLOBALS, where);
  const flat = flatten(legacy.value, legacy.pickleLength + BUDGET_FLOOR, where);
  return {
    flat,
    storage: (ref, of) => {
      const found = legacy.storages.get(ref.key);
      if (found === undefined) throw refuse(of, "STORAGE_MISSING", `its storage ${JSON.stringify(ref.key)} is missing`);
      if (found.byteLength !== ref.byteLength) {
        throw refuse(of, "STORAGE_SIZE", "its storage has another size than its pickle says", {
          expected: `${ref.byteLength} bytes`,
          found: `${found.byteLength} bytes`,
        });
      }
      return new StoredRecord(source, found.begin, found.byteLength, null, of);
    },
  };
}

class TorchCheckpoint implements Checkpoint {
  readonly format = "pt";
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly others;
  readonly paths;
  readonly path: string;
  readonly files: readonly string[];
  private readonly data = new Map<string, ChunkedTensor>();
  /** One record per storage, however many tensors share it. */
  private readonly records = new Map<string, StoredRecord>();
  private readonly recordOf = new Map<string, StoredRecord>();

  constructor(
    readonly folder: Folder,
    name: string,
    private readonly source: SourceFile,
    flat: Flattened,
    private readonly openStorage: OpenStorage,
  ) {
    const path = source.name;
    this.path = path;
    this.files = [name];
    this.others = flat.others;
    this.paths = flat.paths;
    const tensors = new Map<string, TensorInfo>();
    for (const [key, object] of flat.tensors) {
      const where: Where = { file: path, tensor: key };
      const view = tensorView(object, where);
      const { dtype, shape } = view;
      tensors.set(key, { key, dtype, shape, byteLength: byteLengthOf(dtype, shape) });
      this.data.set(key, this.tensorOf(view, where));
    }
    this.tensors = tensors;
  }

  private tensorOf(view: TensorView, where: Where): ChunkedTensor {
    const width = bitsOf(view.dtype) / 8;
    const record = this.storage(view.storage, where);
    this.recordOf.set(where.tensor ?? "", record);
    const shift = (view.storage.viewOf?.offset ?? 0) / width;
    if (!Number.isInteger(shift)) throw refuse(where, "STORAGE_ALIGNMENT", "its storage begins inside an element");
    const strided = { record, offset: view.offset + shift, strides: view.strides };
    const chunk = { offsets: view.shape.map(() => 0), sizes: view.shape, open: () => strided };
    return new ChunkedTensor(view.shape, width, [chunk]);
  }

  private storage(ref: StorageRef, where: Where): StoredRecord {
    const open = this.records.get(ref.key);
    if (open !== undefined && open.byteLength === ref.byteLength) return open;
    const record = this.openStorage(ref, where);
    this.records.set(ref.key, record);
    return record;
  }

  read(key: string, begin: number, target: Uint8Array): void {
    const info = this.tensors.get(key);
    const tensor = this.data.get(key);
    if (info === undefined || tensor === undefined) throw new Error(`${this.path} has no tensor ${key}`);
    if (begin < 0 || begin + target.length > info.byteLength) throw new Error(`a read beyond the end of ${key}`);
    tensor.read(begin, target);
  }

  verify(keys: Iterable<string> = this.tensors.keys()): void {
    for (const key of keys) this.recordOf.get(key)?.verify();
    this.source.check();
  }

  close(): void {
    this.source.close();
  }
}

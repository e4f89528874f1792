import type { Checkpoint, TensorInfo } from "../checkpoint.ts";
import { type ByteSource, readBytes } from "../io/byte-source.ts";
import { locate, type PathOrLocation } from "../io/disk-folder.ts";
import { notAFile } from "../io/file-faults.ts";
import type { Folder, SourceFile } from "../io/folder.ts";
import { refuse, type Where } from "../io/refuse.ts";
import { openArchive, storageRecord } from "../torch/archive.ts";
import { NO_CHECKSUMS, openZipWithTrailer } from "../zip/reader.ts";
import { StoredRecord } from "../zip/stored-record.ts";
import { budgetOf, type Flattened, flatten } from "./flatten.ts";
import { OBJECT_GLOBALS } from "./globals.ts";
import { openLegacy } from "./legacy.ts";
import { type OpenStorage, StoredTensors } from "./stored-tensors.ts";

const ZIP_MAGIC = [0x50, 0x4b, 3, 4];
const PICKLE_MAGIC = 0x80;

/**
 * Opens a file of torch.save, zip or legacy, without reading its data. Names are flattened with `.`, list items by index.
 * @throws InputError for a file that torch.save did not write, and for tensors that are not plain or of an unknown dtype
 */
export function openTorchFile(at: PathOrLocation): Checkpoint {
  const { path, folder, file } = locate(at);
  if (file === null) throw notAFile(path);
  const source = folder.open(file, path);
  try {
    const object = readObject(source, { file: path });
    refuseEmpty(object.flat, path);
    return new TorchCheckpoint(folder, file, source, object);
  } catch (error) {
    source.close();
    throw error;
  }
}

interface TorchObject {
  readonly flat: Flattened;
  readonly storage: OpenStorage;
  readonly isZip: boolean;
}

function readObject(source: ByteSource, where: Where): TorchObject {
  const head = readBytes(source, 0, Math.min(4, source.byteLength));
  if (ZIP_MAGIC.every((byte, i) => head[i] === byte)) {
    const archive = openArchive(openZipWithTrailer(source, where), OBJECT_GLOBALS);
    const flat = flatten(archive.value, budgetOf(archive.pickleLength), where);
    return { flat, storage: (ref, of) => storageRecord(archive, ref, of), isZip: true };
  }
  if (head[0] !== PICKLE_MAGIC) {
    throw refuse(where, "TORCH_FORMAT", "is neither a zip file nor a pickle of torch.save", {
      help: "give a file that torch.save wrote; archives of torch before 0.2 are not read",
    });
  }
  const legacy = openLegacy(source, OBJECT_GLOBALS, where);
  const flat = flatten(legacy.value, budgetOf(legacy.pickleLength), where);
  return {
    flat,
    isZip: false,
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

/** A file of which nothing would be left: what it holds instead is said at once. */
function refuseEmpty({ tensors, others }: Flattened, file: string): void {
  if (tensors.size > 0) return;
  const fault = others.find((entry) => entry.fault !== undefined)?.fault;
  if (fault !== undefined) throw fault;
  const lost = others.find(({ key, tensor }) => key === "" || tensor !== undefined);
  if (lost === undefined) return;
  throw refuse({ file }, "NO_TENSORS", `holds ${lost.tensor ?? `a ${lost.kind}`} and no tensor with data of its own`, {
    expected: "tensors, in dicts and lists",
    found: lost.kind,
    help: "save the tensors in a dict, as state_dict() gives it",
  });
}

class TorchCheckpoint implements Checkpoint {
  readonly format = "pt";
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly others;
  readonly paths;
  readonly path: string;
  readonly files: readonly string[];
  private readonly data: StoredTensors;
  /** The legacy format has no checksums, and none can be missing. */
  private readonly isZip: boolean;

  constructor(
    readonly folder: Folder,
    name: string,
    private readonly source: SourceFile,
    { flat, storage, isZip }: TorchObject,
  ) {
    this.isZip = isZip;
    this.path = source.name;
    this.files = [name];
    this.others = flat.others;
    this.paths = flat.paths;
    this.data = new StoredTensors(this.path, flat.tensors, storage);
    this.tensors = this.data.tensors;
  }

  read(key: string, begin: number, target: Uint8Array): void {
    this.data.read(key, begin, target);
  }

  verify(keys: Iterable<string> = this.tensors.keys()): void {
    for (const key of keys) this.data.verify(key);
    this.source.check();
  }

  notChecked(): string | null {
    return this.isZip && !this.data.hasChecksums ? NO_CHECKSUMS : null;
  }

  close(): void {
    this.source.close();
  }
}

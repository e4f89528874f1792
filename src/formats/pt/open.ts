import type { Checkpoint, TensorInfo } from "../checkpoint.ts";
import { locate, type PathOrLocation } from "../io/disk-folder.ts";
import { notAFile } from "../io/file-faults.ts";
import type { Folder, SourceFile } from "../io/folder.ts";
import { refuse } from "../io/refuse.ts";
import { isSpread } from "../torch/spread.ts";
import { NO_CHECKSUMS } from "../zip/reader.ts";
import type { Flattened } from "./flatten.ts";
import { readTorchObject, type TorchObject } from "./object.ts";
import { openRankPart } from "./rank-parts.ts";
import { StoredTensors } from "./stored-tensors.ts";

/**
 * Opens a file of torch.save, zip or legacy, without reading its data. Names are flattened with `.`, list items by index.
 * A rank's file is whole where that rank was the only one, or holds all of each tensor.
 * @throws InputError for a file that torch.save did not write, and for tensors that are not plain or of an unknown dtype
 */
export function openTorchFile(at: PathOrLocation): Checkpoint {
  const location = locate(at);
  const { path, folder, file } = location;
  if (file === null) throw notAFile(path);
  const source = folder.open(file, path);
  try {
    const object = readTorchObject(source, { file: path });
    if ([...object.flat.tensors.values()].some(isSpread)) {
      source.close();
      return openRankPart(location, file);
    }
    refuseEmpty(object.flat, path);
    return new TorchCheckpoint(folder, file, source, object);
  } catch (error) {
    source.close();
    throw error;
  }
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

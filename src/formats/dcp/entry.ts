// A bytes entry: one pickled value, `torch.save(value)`. A trainer's step counter is one, and a tuple of tensors, and a
// whole state dict that was not flattened when it was saved.
import { InputError } from "../../base/errors.ts";
import type { OtherEntry } from "../checkpoint.ts";
import { type ByteSource, withBufferedEnds } from "../io/byte-source.ts";
import { refuse, type Where } from "../io/refuse.ts";
import { budgetOf, flatten, type Path } from "../pt/flatten.ts";
import { OBJECT_GLOBALS } from "../pt/globals.ts";
import { StoredTensors } from "../pt/stored-tensors.ts";
import { openArchive, storageRecord } from "../torch/archive.ts";
import { openZip } from "../zip/reader.ts";

export interface DcpEntry {
  readonly others: readonly OtherEntry[];
  readonly paths: ReadonlyMap<string, Path>;
  /** Null where no tensor is in it. */
  readonly data: StoredTensors | null;
}

/** Both ends of a payload, as of a tensor's: most entries have no more. */
const END_BYTES = 1024;

/**
 * Tensors of an entry by flat names, as torch's `dcp_to_torch_save` nests them. An entry without storages is not unpickled.
 * What is wrong with it is a fault of the entry: a checkpoint is more than its trainer's state.
 */
export function openEntry(key: string, path: Path, payload: ByteSource): DcpEntry {
  try {
    return withBufferedEnds(payload, END_BYTES, (source) => parseEntry(key, path, source, payload));
  } catch (fault) {
    if (!(fault instanceof InputError)) throw fault;
    return plain({ key, kind: "bytes", fault });
  }
}

const plain = (entry: OtherEntry): DcpEntry => ({ others: [entry], paths: new Map(), data: null });

function parseEntry(key: string, path: Path, source: ByteSource, { name }: ByteSource): DcpEntry {
  const where: Where = { file: name, tensor: key };
  const zip = openZip(source, where);
  const hasStorages = [...zip.records.keys()].some((record) => /^(?:[^/]*\/)?data\//.test(record));
  if (!hasStorages) return plain({ key, kind: "bytes" });
  const archive = openArchive(zip, OBJECT_GLOBALS);
  const root = path.join(".") === key ? path : [key];
  const flat = flatten(archive.value, budgetOf(archive.pickleLength), where, root);
  const data = new StoredTensors(name, flat.tensors, (ref, of) => storageRecord(archive, ref, of));
  return { others: flat.others, paths: flat.paths, data };
}

/** @throws InputError where a name of an entry is one of the checkpoint's, too */
export function refuseTaken(key: string, taken: ReadonlyMap<string, unknown>, file: string): void {
  if (!taken.has(key)) return;
  throw refuse({ file, tensor: key }, "DUPLICATE_NAME", "is the name of two tensors, one inside another entry", {
    help: "rename one of them and save the checkpoint again",
  });
}

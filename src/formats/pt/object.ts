// What a file of torch.save holds, zip or legacy: its values by flat names, and where storages lie.
import { type ByteSource, readBytes } from "../io/byte-source.ts";
import { refuse, type Where } from "../io/refuse.ts";
import type { PickleValue } from "../pickle/value.ts";
import { openArchive, storageRecord } from "../torch/archive.ts";
import { openZipWithTrailer } from "../zip/reader.ts";
import { StoredRecord } from "../zip/stored-record.ts";
import { budgetOf, type Flattened, flatten } from "./flatten.ts";
import { OBJECT_GLOBALS } from "./globals.ts";
import { openLegacy } from "./legacy.ts";
import type { OpenStorage } from "./stored-tensors.ts";

const ZIP_MAGIC = [0x50, 0x4b, 3, 4];
const PICKLE_MAGIC = 0x80;

export interface TorchObject {
  readonly value: PickleValue;
  readonly flat: Flattened;
  readonly storage: OpenStorage;
  readonly isZip: boolean;
}

/** Throws InputError for what torch.save did not write. */
export function readTorchObject(source: ByteSource, where: Where): TorchObject {
  const head = readBytes(source, 0, Math.min(4, source.byteLength));
  if (ZIP_MAGIC.every((byte, i) => head[i] === byte)) {
    const archive = openArchive(openZipWithTrailer(source, where), OBJECT_GLOBALS);
    const flat = flatten(archive.value, budgetOf(archive.pickleLength), where);
    return { value: archive.value, flat, storage: (ref, of) => storageRecord(archive, ref, of), isZip: true };
  }
  if (head[0] !== PICKLE_MAGIC) {
    throw refuse(where, "TORCH_FORMAT", "is neither a zip file nor a pickle of torch.save", {
      help: "give a file that torch.save wrote; archives of torch before 0.2 are not read",
    });
  }
  const legacy = openLegacy(source, OBJECT_GLOBALS, where);
  const flat = flatten(legacy.value, budgetOf(legacy.pickleLength), where);
  return {
    value: legacy.value,
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

// A zip of torch.save: `<prefix>/data.pkl`, `<prefix>/byteorder`, `<prefix>/data/<storage>`, `<prefix>/version`.

import { refuse, type Where } from "../io/refuse.ts";
import type { GlobalRule } from "../pickle/machine.ts";
import { unpickle } from "../pickle/unpickle.ts";
import { PicklePersistent, type PickleValue } from "../pickle/value.ts";
import { locate, readRecord, type ZipArchive } from "../zip/reader.ts";
import type { StoredRecord } from "../zip/stored-record.ts";
import type { StorageRef } from "./rebuild.ts";

export interface TorchArchive {
  readonly zip: ZipArchive;
  /** Includes the slash. */
  readonly prefix: string;
  readonly value: PickleValue;
  /** Length of the pickle in bytes. */
  readonly pickleLength: number;
}

/** A pickle names its tensors; the largest models have some 100,000 at 200 bytes. */
const PICKLE_LIMIT = 1 << 29;
const BYTE_ORDER_LIMIT = 16;
const PICKLE_NAME = "data.pkl";

const persistent = (id: PickleValue): PicklePersistent => new PicklePersistent(id);

/** Reads the pickle, no data. Throws InputError for what torch.save does not write. */
export function openArchive(zip: ZipArchive, globals: ReadonlyMap<string, GlobalRule>): TorchArchive {
  const { where } = zip;
  const pickles = [...zip.records.keys()].filter((name) => name === PICKLE_NAME || /^[^/]*\/data\.pkl$/.test(name));
  const name = pickles[0];
  if (name === undefined || pickles.length > 1) {
    throw refuse(where, "TORCH_NO_PICKLE", `is a zip file with ${pickles.length} records data.pkl instead of one`, {
      help: "give a file that torch.save wrote",
    });
  }
  const prefix = name.slice(0, -PICKLE_NAME.length);
  if (zip.records.has(`${prefix}constants.pkl`)) {
    throw refuse(where, "TORCH_SCRIPT", "is a TorchScript program, not a checkpoint", {
      help: "load it with torch.jit.load and save its state_dict() with torch.save",
    });
  }
  refuseBigEndian(zip, prefix);
  const pickle = readRecord(zip, zip.records.get(name)!, PICKLE_LIMIT);
  const { value, end } = unpickle(pickle, { where, globals, persistent });
  if (end !== pickle.length) throw refuse(where, "PICKLE_TRAILING", "data follow the end of the pickle");
  return { zip, prefix, value, pickleLength: pickle.length };
}

function refuseBigEndian(zip: ZipArchive, prefix: string): void {
  const record = zip.records.get(`${prefix}byteorder`);
  if (record === undefined) return;
  const order = new TextDecoder().decode(readRecord(zip, record, BYTE_ORDER_LIMIT));
  if (order === "little") return;
  throw refuse(zip.where, "BYTE_ORDER", `was written in byte order ${JSON.stringify(order)}`, {
    expected: "little",
    found: order,
    help: "load it with torch on a little-endian machine and save it again",
  });
}

/** The data of a storage, whose size must be the one that the pickle gives. */
export function storageRecord(archive: TorchArchive, storage: StorageRef, where: Where): StoredRecord {
  const name = `${archive.prefix}data/${storage.key}`;
  const record = archive.zip.records.get(name);
  if (record === undefined) {
    throw refuse(where, "STORAGE_MISSING", `its storage, zip record ${JSON.stringify(name)}, is missing`);
  }
  if (record.byteLength !== storage.byteLength) {
    throw refuse(where, "STORAGE_SIZE", `its storage has another size than its pickle says`, {
      expected: `${storage.byteLength} bytes`,
      found: `${record.byteLength} bytes`,
    });
  }
  return locate(archive.zip, record, where);
}

// torch.save before 1.6: four pickles (magic number, protocol, system, object), a pickled list of storage keys, and for
// each of them an int64 count of elements and the raw data. Nothing in it is a checksum.
// Source: pytorch/pytorch@v2.13.0:torch/serialization.py, _legacy_save and _legacy_load
import { InputError } from "../../base/errors.ts";
import { type ByteSource, readBytes } from "../io/byte-source.ts";
import { refuse, type Where } from "../io/refuse.ts";
import { type GlobalRule, PickleEndsEarly } from "../pickle/machine.ts";
import { unpickle } from "../pickle/unpickle.ts";
import { isTuple, PickleDict, PickleGlobal, PickleList, PicklePersistent, type PickleValue } from "../pickle/value.ts";
import { storageWidth } from "../torch/dtype.ts";

const MAGIC = 0x1950a86a20f9469cfc6cn;
const PROTOCOL = 1001;
const FIRST_WINDOW = 1 << 16;
const PICKLE_LIMIT = 1 << 29;
const COUNT_BYTES = 8;

export interface LegacyFile {
  readonly value: PickleValue;
  readonly pickleLength: number;
  /** Where the data of each storage lie. */
  readonly storages: ReadonlyMap<string, { readonly begin: number; readonly byteLength: number }>;
}

/** Reads the pickles and the counts, no data. Throws InputError. */
export function openLegacy(source: ByteSource, globals: ReadonlyMap<string, GlobalRule>, where: Where): LegacyFile {
  const reader = new PickleReader(source, globals, where);
  if (reader.next() !== MAGIC) {
    throw refuse(where, "TORCH_MAGIC", "is a pickle, but not one of torch.save", {
      help: "give a file that torch.save wrote; other pickles are not read",
    });
  }
  const protocol = reader.next();
  if (protocol !== PROTOCOL)
    throw refuse(where, "TORCH_PROTOCOL", "has a torch protocol that is not known", { expected: `${PROTOCOL}` });
  const system = reader.next();
  if (!(system instanceof PickleDict) || system.get("little_endian") !== true) {
    throw refuse(where, "BYTE_ORDER", "was not written on a little-endian machine", {
      expected: "little_endian: True",
    });
  }
  const begin = reader.position;
  const value = reader.next();
  const pickleLength = reader.position - begin;
  const keys = reader.next();
  if (!(keys instanceof PickleList)) throw refuse(where, "TORCH_KEYS", "has no list of storages after its object");
  const storages = layOut(source, reader, keys.items, where);
  return { value, pickleLength, storages };
}

function layOut(source: ByteSource, reader: PickleReader, keys: readonly PickleValue[], where: Where) {
  const storages = new Map<string, { begin: number; byteLength: number }>();
  let at = reader.position;
  for (const key of keys) {
    const width = typeof key === "string" ? reader.widths.get(key) : undefined;
    if (typeof key !== "string" || width === undefined || storages.has(key)) {
      throw refuse(where, "TORCH_KEYS", "lists a storage that none of its tensors has, or lists one twice");
    }
    if (at + COUNT_BYTES > source.byteLength) throw truncated(where);
    const count = readBytes(source, at, COUNT_BYTES).readBigInt64LE(0);
    const byteLength = Number(count) * width;
    if (count < 0n || at + COUNT_BYTES + byteLength > source.byteLength) throw truncated(where);
    storages.set(key, { begin: at + COUNT_BYTES, byteLength });
    at += COUNT_BYTES + byteLength;
  }
  if (at !== source.byteLength)
    throw refuse(where, "TORCH_TRAILING", `${source.byteLength - at} bytes follow the last storage`);
  return storages;
}

const truncated = (where: Where) => refuse(where, "TORCH_TRUNCATED", "ends before the data of its storages");

/** Reads pickles one after the other, whose lengths nothing tells. */
class PickleReader {
  position = 0;
  /** Bytes of an element, by storage key. */
  readonly widths = new Map<string, number>();
  private window: Uint8Array = new Uint8Array(0);
  private windowBegin = 0;

  constructor(
    private readonly source: ByteSource,
    private readonly globals: ReadonlyMap<string, GlobalRule>,
    private readonly where: Where,
  ) {}

  next(): PickleValue {
    for (let length = FIRST_WINDOW; ; length *= 4) {
      this.fill(length);
      try {
        const { value, end } = unpickle(
          this.window,
          { where: this.where, globals: this.globals, persistent: (id) => this.note(id) },
          this.position - this.windowBegin,
        );
        this.position = this.windowBegin + end;
        return value;
      } catch (error) {
        const more = this.windowBegin + this.window.length < this.source.byteLength && length < PICKLE_LIMIT;
        if (!(more && error instanceof InputError && error.cause instanceof PickleEndsEarly)) throw error;
      }
    }
  }

  private fill(length: number): void {
    const wanted = Math.min(length, this.source.byteLength - this.position);
    if (this.position + wanted <= this.windowBegin + this.window.length) return;
    this.windowBegin = this.position;
    this.window = readBytes(this.source, this.position, wanted);
  }

  private note(id: PickleValue): PicklePersistent {
    const [, kind, key] = isTuple(id) ? id : [];
    if (kind instanceof PickleGlobal && typeof key === "string") this.widths.set(key, storageWidth(kind.name));
    return new PicklePersistent(id);
  }
}

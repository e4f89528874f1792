// The zip files that torch.save writes: stored records, sizes in the central directory only, zip64.
// Format: PKWARE APPNOTE 6.3.10, sections 4.3.7 (local header), 4.3.12 (central directory), 4.3.14 to 4.3.16 (ends), 4.5.3.

import { type ByteSource, readBytes, subSource } from "../io/byte-source.ts";
import { refuse, type Where } from "../io/refuse.ts";
import { StoredRecord } from "./stored-record.ts";

export interface ZipRecord {
  readonly name: string;
  /** Position of the local header. */
  readonly header: number;
  readonly byteLength: number;
  readonly crc: number;
}

export interface ZipArchive {
  readonly source: ByteSource;
  readonly where: Where;
  readonly records: ReadonlyMap<string, ZipRecord>;
  /** Where the central directory begins, and data end. */
  readonly dataEnd: number;
  /** False where all CRC-32 are 0: torch writes them so when it is told to compute none. */
  readonly hasChecksums: boolean;
}

/** What a report says of a file without. */
export const NO_CHECKSUMS = "the file was saved without CRC-32: a changed bit would not show";

const END_BYTES = 22;
const END_MAGIC = Buffer.from("PK\u0005\u0006");
/** `MZ_ZIP_MAX_ARCHIVE_COMMENT_SIZE` and what miniz reads with it. */
const TRAILER_BYTES = 1 << 16;
const LOCATOR_BYTES = 20;
const END64_BYTES = 56;
const CENTRAL_BYTES = 46;
const LOCAL_BYTES = 30;
const ALL_ONES = 0xffffffff;
/** torch's archives have one record per storage, with a directory entry of some 100 bytes. */
const DIRECTORY_LIMIT = 1 << 30;
/** What one read from the end usually brings in: the three end records and the directory of a payload of one tensor. */
const TAIL_BYTES = 1024;

/**
 * Reads the directory of a zip file that fills `source` from its first byte to its last.
 * @throws InputError for anything but stored, unencrypted records that lie inside the file.
 */
export function openZip(source: ByteSource, where: Where): ZipArchive {
  const tailBegin = Math.max(0, source.byteLength - TAIL_BYTES);
  const tail = readBytes(source, tailBegin, source.byteLength - tailBegin);
  const { count, begin, byteLength } = findDirectory(source, tail, tailBegin, where);
  const bytes = begin >= tailBegin ? tail.subarray(begin - tailBegin) : readBytes(source, begin, byteLength);
  const records = parseDirectory(bytes.subarray(0, byteLength), count, where);
  for (const record of records.values()) {
    if (record.header + LOCAL_BYTES + record.byteLength > begin) {
      throw refuse(
        where,
        "ZIP_BOUNDS",
        `zip record ${JSON.stringify(record.name)} reaches beyond the data of the file`,
      );
    }
  }
  const hold = [...records.values()].filter(({ byteLength }) => byteLength > 0);
  const hasChecksums = hold.length === 0 || hold.some(({ crc }) => crc !== 0);
  return { source, where, records, dataEnd: begin, hasChecksums };
}

/**
 * The same where more may follow the zip file, as torch.load allows it: up to 64 KiB, which is as far as its reader looks.
 */
export function openZipWithTrailer(source: ByteSource, where: Where): ZipArchive {
  const last = Math.max(0, source.byteLength - END_BYTES);
  if (readBytes(source, last, Math.min(END_MAGIC.length, source.byteLength)).equals(END_MAGIC))
    return openZip(source, where);
  const begin = Math.max(0, last - TRAILER_BYTES);
  const tail = readBytes(source, begin, source.byteLength - begin);
  const at = tail.lastIndexOf(END_MAGIC);
  const trailing = at < 0 ? 0 : Math.max(0, tail.length - at - END_BYTES);
  return openZip(trailing === 0 ? source : subSource(source, 0, source.byteLength - trailing), where);
}

interface Directory {
  readonly count: number;
  readonly begin: number;
  readonly byteLength: number;
}

function findDirectory(source: ByteSource, tail: Uint8Array, tailBegin: number, where: Where): Directory {
  const at = tail.length - END_BYTES;
  const view = viewOf(tail);
  if (at < 0 || view.getUint32(at, true) !== 0x06054b50) {
    throw refuse(where, "ZIP_END_MISSING", "has no zip end record: it is cut off, or is no zip file", {
      help: "copy the file again: a zip file is complete only with its last bytes",
    });
  }
  const locator = at - LOCATOR_BYTES;
  const zip64 = locator >= 0 && view.getUint32(locator, true) === 0x07064b50;
  const directory = zip64
    ? readEnd64(source, safeU64(view, locator + 8, where), where)
    : {
        count: view.getUint16(at + 10, true),
        byteLength: view.getUint32(at + 12, true),
        begin: view.getUint32(at + 16, true),
      };
  const end = tailBegin + (zip64 ? locator : at);
  if (directory.begin + directory.byteLength > end || directory.count * CENTRAL_BYTES > directory.byteLength) {
    throw refuse(where, "ZIP_DIRECTORY_BOUNDS", "the zip directory does not lie inside the file");
  }
  if (directory.byteLength > DIRECTORY_LIMIT) {
    throw refuse(where, "ZIP_DIRECTORY_SIZE", `the zip directory has more than ${DIRECTORY_LIMIT} bytes`);
  }
  return directory;
}

function readEnd64(source: ByteSource, begin: number, where: Where): Directory {
  if (begin + END64_BYTES > source.byteLength) {
    throw refuse(where, "ZIP_END64", "the zip64 end record does not lie inside the file");
  }
  const view = viewOf(readBytes(source, begin, END64_BYTES));
  if (view.getUint32(0, true) !== 0x06064b50)
    throw refuse(where, "ZIP_END64", "the zip64 end record is not where it should be");
  return { count: safeU64(view, 32, where), byteLength: safeU64(view, 40, where), begin: safeU64(view, 48, where) };
}

function parseDirectory(bytes: Uint8Array, count: number, where: Where): Map<string, ZipRecord> {
  const records = new Map<string, ZipRecord>();
  const view = viewOf(bytes);
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + CENTRAL_BYTES > bytes.length || view.getUint32(at, true) !== 0x02014b50) {
      throw refuse(where, "ZIP_DIRECTORY", `entry ${i} of the zip directory is damaged`);
    }
    const end =
      at +
      CENTRAL_BYTES +
      view.getUint16(at + 28, true) +
      view.getUint16(at + 30, true) +
      view.getUint16(at + 32, true);
    if (end > bytes.length) throw refuse(where, "ZIP_DIRECTORY", `entry ${i} of the zip directory is cut off`);
    const record = parseEntry(bytes.subarray(at, end), where);
    if (records.has(record.name)) {
      throw refuse(where, "ZIP_DUPLICATE", `zip record ${JSON.stringify(record.name)} is there twice`);
    }
    records.set(record.name, record);
    at = end;
  }
  return records;
}

function parseEntry(bytes: Uint8Array, where: Where): ZipRecord {
  const view = viewOf(bytes);
  const nameEnd = CENTRAL_BYTES + view.getUint16(28, true);
  const name = new TextDecoder().decode(bytes.subarray(CENTRAL_BYTES, nameEnd));
  const [flags, method] = [view.getUint16(8, true), view.getUint16(10, true)];
  if (method !== 0 || (flags & 1) !== 0) {
    throw refuse(
      where,
      "ZIP_COMPRESSED",
      `zip record ${JSON.stringify(name)} is ${method === 0 ? "encrypted" : "compressed"}`,
      {
        expected: "method 0 (stored)",
        found: `method ${method}, flags 0x${flags.toString(16)}`,
        help: "load the file with torch and save it again: torch.save stores its records",
      },
    );
  }
  const wide = zip64Fields(bytes.subarray(nameEnd, nameEnd + view.getUint16(30, true)));
  const field = (at: number): number => {
    const narrow = view.getUint32(at, true);
    return narrow === ALL_ONES && wide !== undefined ? wide(where) : narrow;
  };
  // The 64-bit fields stand in this order, each only where its 32-bit field is all ones.
  const byteLength = field(24);
  const packed = field(20);
  const header = field(42);
  if (packed !== byteLength)
    throw refuse(where, "ZIP_SIZE", `zip record ${JSON.stringify(name)} has two different sizes`);
  return { name, header, byteLength, crc: view.getUint32(16, true) };
}

/** The values of extra field 1, one a call; undefined where there is none. */
function zip64Fields(extra: Uint8Array): ((where: Where) => number) | undefined {
  const view = viewOf(extra);
  for (let at = 0; at + 4 <= extra.length; at += 4 + view.getUint16(at + 2, true)) {
    if (view.getUint16(at, true) !== 1) continue;
    const end = Math.min(extra.length, at + 4 + view.getUint16(at + 2, true));
    let next = at + 4;
    return (where) => {
      if (next + 8 > end) throw refuse(where, "ZIP_EXTRA", "a zip64 field of the zip directory is cut off");
      next += 8;
      return safeU64(view, next - 8, where);
    };
  }
  return undefined;
}

/** Where a record's data lie: the local header has a name and padding of its own. */
export function locate(zip: ZipArchive, record: ZipRecord, where: Where = zip.where): StoredRecord {
  const name = new TextEncoder().encode(record.name);
  const bytes = readBytes(zip.source, record.header, Math.min(LOCAL_BYTES + name.length, zip.dataEnd - record.header));
  const header = viewOf(bytes);
  if (header.getUint32(0, true) !== 0x04034b50 || Buffer.compare(bytes.subarray(LOCAL_BYTES), name) !== 0) {
    throw refuse(where, "ZIP_LOCAL_HEADER", `zip record ${JSON.stringify(record.name)} has no local header`);
  }
  const begin = record.header + LOCAL_BYTES + header.getUint16(26, true) + header.getUint16(28, true);
  if (begin + record.byteLength > zip.dataEnd) {
    throw refuse(where, "ZIP_BOUNDS", `zip record ${JSON.stringify(record.name)} reaches beyond the data of the file`);
  }
  return new StoredRecord(zip.source, begin, record.byteLength, zip.hasChecksums ? record.crc : null, where);
}

/** A whole record, checked. */
export function readRecord(zip: ZipArchive, record: ZipRecord, limit: number): Uint8Array {
  if (record.byteLength > limit) {
    throw refuse(
      zip.where,
      "ZIP_RECORD_SIZE",
      `zip record ${JSON.stringify(record.name)} has ${record.byteLength} bytes`,
      {
        expected: `at most ${limit} bytes`,
      },
    );
  }
  const bytes = Buffer.allocUnsafe(record.byteLength);
  locate(zip, record).read(0, bytes);
  return bytes;
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

function safeU64(view: DataView, at: number, where: Where): number {
  const value = view.getBigUint64(at, true);
  if (value > Number.MAX_SAFE_INTEGER)
    throw refuse(where, "ZIP_NUMBER", `a size or offset of the zip file is ${value}`);
  return Number(value);
}

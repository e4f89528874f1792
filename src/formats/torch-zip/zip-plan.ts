// Zip files as torch.save writes them: stored records aligned to 64 bytes, data descriptors after tensors, zip64.
// Format: PKWARE APPNOTE 6.3.10; padding field "FB": pytorch/pytorch@v2.13.0:caffe2/serialize/inline_container.cc
import { crc32 } from "node:zlib";
import type { OutputPart } from "../output.ts";

export interface PlannedZip {
  readonly byteLength: number;
  readonly parts: readonly OutputPart[];
}

export type PlannedRecord =
  | { readonly name: string; readonly bytes: Uint8Array }
  /** Row-major byte ranges [begin, end) of a tensor, one after the other. */
  | { readonly name: string; readonly key: string; readonly ranges: readonly (readonly [number, number])[] };

interface Entry {
  readonly name: Buffer;
  readonly byteLength: number;
  readonly header: number;
  readonly checksum: Checksum;
  readonly flags: number;
}

/** From the start of the zip file, so that a mapped storage suits every element type. Source: inline_container.h, kFieldAlignment */
const ALIGNMENT = 64;
const ALL_ONES = 0xffffffff;
const UTF8 = 0x800;
/** The local header has no CRC; a descriptor follows the data. */
const DESCRIPTOR = 0x8;
const LOCAL_BYTES = 30;
const CENTRAL_BYTES = 46;
/** 1980-01-01, the zero of the format. */
const NO_DATE = 0x21;

/** CRC-32 of bytes that pass by in order. */
class Checksum {
  private crc = 0;
  private seen = 0;

  constructor(private readonly byteLength: number) {}

  readonly observe = (chunk: Uint8Array): void => {
    this.crc = crc32(chunk, this.crc);
    this.seen += chunk.length;
  };

  value(): number {
    if (this.seen !== this.byteLength) {
      throw new Error(`a checksum of ${this.byteLength} bytes was asked for after ${this.seen} of them`);
    }
    return this.crc;
  }
}

/** Parts of a zip file, in ascending order. Checksums of tensors are computed while the parts are written. */
export function planZip(records: readonly PlannedRecord[]): PlannedZip {
  const parts: OutputPart[] = [];
  const entries: Entry[] = [];
  let at = 0;
  const add = (part: OutputPart, byteLength: number): void => {
    parts.push(part);
    at += byteLength;
  };
  for (const record of records) {
    const byteLength = "bytes" in record ? record.bytes.length : total(record.ranges);
    const checksum = new Checksum(byteLength);
    const flags = "bytes" in record ? UTF8 : UTF8 | DESCRIPTOR;
    const entry: Entry = { name: Buffer.from(record.name), byteLength, header: at, checksum, flags };
    entries.push(entry);
    if ("bytes" in record) checksum.observe(record.bytes);
    const header = localHeader(entry);
    add({ kind: "bytes", bytes: header }, header.length);
    if ("bytes" in record) add({ kind: "bytes", bytes: record.bytes }, byteLength);
    else {
      for (const [begin, end] of record.ranges) {
        if (end > begin) add({ kind: "tensor", key: record.key, begin, end, observe: checksum.observe }, end - begin);
      }
      const size = isWide(entry) ? 24 : 16;
      add({ kind: "late", byteLength: size, make: () => descriptor(entry) }, size);
    }
  }
  const directoryBytes = entries.reduce((sum, entry) => sum + CENTRAL_BYTES + entry.name.length + wideBytes(entry), 0);
  const directory = (): Buffer => Buffer.concat(entries.map(centralHeader));
  const ends = endRecords(entries.length, at, directoryBytes);
  add({ kind: "late", byteLength: directoryBytes, make: directory }, directoryBytes);
  add({ kind: "bytes", bytes: ends }, ends.length);
  return { byteLength: at, parts: joined(parts) };
}

const total = (ranges: readonly (readonly [number, number])[]): number =>
  ranges.reduce((sum, [begin, end]) => sum + end - begin, 0);

/** Whether the sizes need 64 bits. */
const isWide = (entry: Entry): boolean => entry.byteLength >= ALL_ONES;

const isFar = (entry: Entry): boolean => entry.header >= ALL_ONES;

/** Bytes of the zip64 field in the central directory. */
const wideBytes = (entry: Entry): number =>
  isWide(entry) || isFar(entry) ? 4 + (isWide(entry) ? 16 : 0) + (isFar(entry) ? 8 : 0) : 0;

function localHeader(entry: Entry): Buffer {
  const wide = isWide(entry) ? 20 : 0;
  const unpadded = entry.header + LOCAL_BYTES + entry.name.length + wide + 4;
  const padding = (ALIGNMENT - (unpadded % ALIGNMENT)) % ALIGNMENT;
  const header = Buffer.alloc(LOCAL_BYTES + entry.name.length + wide + 4 + padding, "Z");
  header.writeUInt32LE(0x04034b50, 0);
  const known = (entry.flags & DESCRIPTOR) === 0;
  writeCommon(header, 4, entry, known ? entry.checksum.value() : 0, known ? entry.byteLength : 0);
  header.writeUInt16LE(entry.name.length, 26);
  header.writeUInt16LE(wide + 4 + padding, 28);
  entry.name.copy(header, LOCAL_BYTES);
  const extra = LOCAL_BYTES + entry.name.length;
  if (wide > 0) {
    // As torch does: the sizes are in the descriptor, and the field says only that they are of 64 bits.
    header.fill(0, extra, extra + wide);
    header.writeUInt16LE(1, extra);
    header.writeUInt16LE(16, extra + 2);
  }
  header.write("FB", extra + wide, "latin1");
  header.writeUInt16LE(padding, extra + wide + 2);
  return header;
}

/** Version, flags, method 0, time, date, CRC-32 and both sizes, which stand in this order in both headers. */
function writeCommon(header: Buffer, at: number, entry: Entry, crc: number, size: number): void {
  header.writeUInt16LE(wideBytes(entry) > 0 ? 45 : 20, at);
  header.writeUInt16LE(entry.flags, at + 2);
  header.writeUInt32LE(0, at + 4);
  header.writeUInt16LE(NO_DATE, at + 8);
  header.writeUInt32LE(crc, at + 10);
  header.writeUInt32LE(size, at + 14);
  header.writeUInt32LE(size, at + 18);
}

function descriptor(entry: Entry): Buffer {
  const bytes = Buffer.alloc(isWide(entry) ? 24 : 16);
  bytes.writeUInt32LE(0x08074b50, 0);
  bytes.writeUInt32LE(entry.checksum.value(), 4);
  for (const i of [0, 1]) {
    if (isWide(entry)) bytes.writeBigUInt64LE(BigInt(entry.byteLength), 8 + 8 * i);
    else bytes.writeUInt32LE(entry.byteLength, 8 + 4 * i);
  }
  return bytes;
}

function centralHeader(entry: Entry): Buffer {
  const header = Buffer.alloc(CENTRAL_BYTES + entry.name.length + wideBytes(entry));
  header.writeUInt32LE(0x02014b50, 0);
  writeCommon(header, 6, entry, entry.checksum.value(), Math.min(entry.byteLength, ALL_ONES));
  header.writeUInt16LE(entry.name.length, 28);
  header.writeUInt16LE(wideBytes(entry), 30);
  header.writeUInt32LE(Math.min(entry.header, ALL_ONES), 42);
  entry.name.copy(header, CENTRAL_BYTES);
  if (wideBytes(entry) === 0) return header;
  let at = CENTRAL_BYTES + entry.name.length;
  header.writeUInt16LE(1, at);
  header.writeUInt16LE(wideBytes(entry) - 4, at + 2);
  at += 4;
  const wide = [
    ...(isWide(entry) ? [entry.byteLength, entry.byteLength] : []),
    ...(isFar(entry) ? [entry.header] : []),
  ];
  for (const value of wide) at = header.writeBigUInt64LE(BigInt(value), at);
  return header;
}

/** zip64 end record, its locator and the end record; torch writes all three, whatever the size. */
function endRecords(count: number, directory: number, directoryBytes: number): Buffer {
  const end = Buffer.alloc(56 + 20 + 22);
  end.writeUInt32LE(0x06064b50, 0);
  end.writeBigUInt64LE(44n, 4);
  end.writeUInt16LE(45, 12);
  end.writeUInt16LE(45, 14);
  for (const at of [24, 32]) end.writeBigUInt64LE(BigInt(count), at);
  end.writeBigUInt64LE(BigInt(directoryBytes), 40);
  end.writeBigUInt64LE(BigInt(directory), 48);
  end.writeUInt32LE(0x07064b50, 56);
  end.writeBigUInt64LE(BigInt(directory + directoryBytes), 64);
  end.writeUInt32LE(1, 72);
  end.writeUInt32LE(0x06054b50, 76);
  for (const at of [84, 86]) end.writeUInt16LE(Math.min(count, 0xffff), at);
  end.writeUInt32LE(Math.min(directoryBytes, ALL_ONES), 88);
  end.writeUInt32LE(Math.min(directory, ALL_ONES), 92);
  return end;
}

/** What stands between two tensors as one part: a payload of one tensor is three parts. */
function joined(parts: readonly OutputPart[]): OutputPart[] {
  const result: OutputPart[] = [];
  let between: Exclude<OutputPart, { kind: "tensor" }>[] = [];
  const flush = (): void => {
    if (between.length > 0) result.push(join(between));
    between = [];
  };
  for (const part of parts) {
    if (part.kind === "tensor") {
      flush();
      result.push(part);
    } else between.push(part);
  }
  flush();
  return result;
}

function join(parts: readonly Exclude<OutputPart, { kind: "tensor" }>[]): OutputPart {
  const make = (): Buffer => Buffer.concat(parts.map((part) => (part.kind === "bytes" ? part.bytes : part.make())));
  if (parts.every((part) => part.kind === "bytes")) return { kind: "bytes", bytes: make() };
  const byteLength = parts.reduce(
    (sum, part) => sum + (part.kind === "bytes" ? part.bytes.length : part.byteLength),
    0,
  );
  return { kind: "late", byteLength, make };
}

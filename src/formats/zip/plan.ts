// Zip files as torch.save writes them: stored records aligned to 64 bytes, data descriptors after tensors, zip64.
// Format: PKWARE APPNOTE 6.3.10; padding field "FB": pytorch/pytorch@v2.13.0:caffe2/serialize/inline_container.cc
import { crc32 } from "node:zlib";
import type { Crc32Of, OutputPart } from "../output.ts";

/** Where the parts of a zip file lie, before it is known whose data it holds. Equal records have equal layouts. */
export interface ZipLayout {
  readonly byteLength: number;
  readonly segments: readonly Segment[];
}

export type LayoutRecord =
  | { readonly name: string; readonly bytes: Uint8Array }
  /** Data that are not known yet. */
  | { readonly name: string; readonly byteLength: number };

/** Row-major byte ranges [begin, end) of a tensor, one after the other. */
export interface RecordData {
  readonly key: string;
  readonly ranges: readonly (readonly [number, number])[];
}

type Segment =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  /** The data of the nth record whose bytes were not known. */
  | { readonly kind: "data"; readonly index: number }
  | Late;

interface Late {
  readonly kind: "late";
  readonly byteLength: number;
  /** Which of these it asks for: from a number to before another. */
  readonly needs: readonly [number, number];
  /** Takes the CRC-32 of the nth record whose bytes were not known. */
  readonly make: (crc: Crc32Of) => Uint8Array;
}

interface Entry {
  readonly name: Buffer;
  readonly byteLength: number;
  /** Position of the local header. */
  readonly header: number;
  /** CRC-32 of known bytes, or the index of the data. */
  readonly content: { readonly crc: number } | { readonly index: number };
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

/** Lays a zip file out, in ascending order. */
export function layOutZip(records: readonly LayoutRecord[]): ZipLayout {
  const segments: Segment[] = [];
  const entries: Entry[] = [];
  let at = 0;
  let data = 0;
  const add = (segment: Segment, byteLength: number): void => {
    segments.push(segment);
    at += byteLength;
  };
  const addBytes = (bytes: Uint8Array): void => add({ kind: "bytes", bytes }, bytes.length);
  for (const record of records) {
    const known = "bytes" in record;
    const byteLength = known ? record.bytes.length : record.byteLength;
    const content = known ? { crc: crc32(record.bytes) } : { index: data++ };
    const entry: Entry = { name: Buffer.from(record.name), byteLength, header: at, content };
    entries.push(entry);
    addBytes(localHeader(entry));
    if ("index" in content) {
      add({ kind: "data", index: content.index }, byteLength);
      const size = isWide(entry) ? 24 : 16;
      const needs = [content.index, content.index + 1] as const;
      add({ kind: "late", byteLength: size, needs, make: (crc) => descriptor(entry, crc) }, size);
    } else if (known) addBytes(record.bytes);
  }
  const directory = (crc: Crc32Of): Buffer => Buffer.concat(entries.map((entry) => centralHeader(entry, crc)));
  const directoryBytes = entries.reduce((sum, entry) => sum + CENTRAL_BYTES + entry.name.length + wideBytes(entry), 0);
  const ends = endRecords(entries.length, at, directoryBytes);
  add({ kind: "late", byteLength: directoryBytes, needs: [0, data], make: directory }, directoryBytes);
  addBytes(ends);
  return { byteLength: at, segments: joined(segments) };
}

/**
 * The parts of a zip file with the given data.
 * @param firstSum number of the checksum of the first of them in the file that holds the zip
 */
export function planZip(layout: ZipLayout, data: readonly RecordData[], firstSum = 0): OutputPart[] {
  return layout.segments.flatMap((segment): OutputPart[] => {
    if (segment.kind === "bytes") return [segment];
    if (segment.kind === "late") {
      const { byteLength, needs, make } = segment;
      return [{ kind: "sums", byteLength, firstSum, needs, make }];
    }
    const { key, ranges } = data[segment.index]!;
    const sum = firstSum + segment.index;
    return ranges.flatMap(([begin, end]) => (end > begin ? [{ kind: "tensor" as const, key, begin, end, sum }] : []));
  });
}

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
  if ("crc" in entry.content) writeCommon(header, 4, entry, entry.content.crc, entry.byteLength);
  else writeCommon(header, 4, entry, 0, 0);
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
  header.writeUInt16LE("crc" in entry.content ? UTF8 : UTF8 | DESCRIPTOR, at + 2);
  header.writeUInt32LE(0, at + 4);
  header.writeUInt16LE(NO_DATE, at + 8);
  header.writeUInt32LE(crc, at + 10);
  header.writeUInt32LE(size, at + 14);
  header.writeUInt32LE(size, at + 18);
}

const crcOf = ({ content }: Entry, crc: Crc32Of): number => ("crc" in content ? content.crc : crc(content.index));

function descriptor(entry: Entry, crc: Crc32Of): Buffer {
  const bytes = Buffer.alloc(isWide(entry) ? 24 : 16);
  bytes.writeUInt32LE(0x08074b50, 0);
  bytes.writeUInt32LE(crcOf(entry, crc), 4);
  for (const i of [0, 1]) {
    if (isWide(entry)) bytes.writeBigUInt64LE(BigInt(entry.byteLength), 8 + 8 * i);
    else bytes.writeUInt32LE(entry.byteLength, 8 + 4 * i);
  }
  return bytes;
}

function centralHeader(entry: Entry, crc: Crc32Of): Buffer {
  const header = Buffer.alloc(CENTRAL_BYTES + entry.name.length + wideBytes(entry));
  header.writeUInt32LE(0x02014b50, 0);
  writeCommon(header, 6, entry, crcOf(entry, crc), Math.min(entry.byteLength, ALL_ONES));
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

/** What stands between data as one segment: a payload of one tensor is three of them. */
function joined(segments: readonly Segment[]): Segment[] {
  const result: Segment[] = [];
  let between: Exclude<Segment, { kind: "data" }>[] = [];
  const flush = (): void => {
    if (between.length > 0) result.push(join(between));
    between = [];
  };
  for (const segment of segments) {
    if (segment.kind === "data") {
      flush();
      result.push(segment);
    } else between.push(segment);
  }
  flush();
  return result;
}

function join(segments: readonly Exclude<Segment, { kind: "data" }>[]): Segment {
  const make = (crc: Crc32Of): Buffer =>
    Buffer.concat(segments.map((segment) => (segment.kind === "bytes" ? segment.bytes : segment.make(crc))));
  if (segments.every((segment) => segment.kind === "bytes")) return { kind: "bytes", bytes: make(() => 0) };
  const byteLength = segments.reduce((sum, s) => sum + (s.kind === "bytes" ? s.bytes.length : s.byteLength), 0);
  const late = segments.filter((segment) => segment.kind === "late");
  const begin = Math.min(...late.map(({ needs }) => needs[0]));
  return { kind: "late", byteLength, needs: [begin, Math.max(...late.map(({ needs }) => needs[1]))], make };
}

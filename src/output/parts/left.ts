// What no part can write alone, because it is made of checksums of bytes that several parts write: as data, so that whoever
// joins the parts needs neither the plan nor the source.
import { joinedCrc32 } from "../../base/crc32.ts";
import type { SumPiece } from "../../formats/checksums.ts";
import { type OutputFile, type OutputPart, partsWithin } from "../../formats/output.ts";
import type { Range } from "./share.ts";

/** Bytes of a file from `begin` on, with holes for checksums. */
export interface LeftBytes {
  readonly file: string;
  readonly begin: number;
  readonly bytes: Uint8Array;
  /** Where in `bytes` the CRC-32 of which checksum of the file goes, in four bytes, the lowest first. */
  readonly holes: readonly (readonly [at: number, sum: number])[];
}

/** A checksum that is asked for when parts are joined. */
export interface NeededSum {
  readonly file: string;
  readonly sum: number;
  /** Of its data. */
  readonly byteLength: number;
}

export interface Left {
  readonly bytes: readonly LeftBytes[];
  readonly sums: readonly NeededSum[];
}

/** What parts with these ranges leave. */
export function leftBy(files: readonly OutputFile[], shares: readonly (readonly Range[])[]): Left {
  const ranges = shares.flat();
  const bytes: LeftBytes[] = [];
  const sums: NeededSum[] = [];
  for (const file of files) {
    const { left, needed } = leftIn(
      file,
      ranges.filter((range) => range.file === file.name),
    );
    bytes.push(...left);
    for (const [sum, byteLength] of needed) sums.push({ file: file.name, sum, byteLength });
  }
  return { bytes, sums };
}

function leftIn(file: OutputFile, ranges: readonly Range[]) {
  const left: LeftBytes[] = [];
  const needed = new Map<number, number>();
  /** Of each checksum: where its data begin in the file, and how many they are. */
  const data = new Map<number, { readonly begin: number; readonly byteLength: number }>();
  for (const { part, begin, end, sumBegin } of partsWithin(file)) {
    if (part.kind === "tensor" && part.sum !== undefined) {
      const from = data.get(part.sum)?.begin ?? begin;
      data.set(part.sum, { begin: from, byteLength: sumBegin + end - begin });
    }
    if (part.kind !== "sums") continue;
    const numbers = sumsOf(part).filter((sum) => data.has(sum));
    const first = numbers.reduce((least, sum) => Math.min(least, data.get(sum)!.begin), begin);
    if (ranges.some((range) => range.begin <= first && end <= range.end)) continue;
    left.push({ file: file.name, begin, ...withHoles(part) });
    for (const sum of numbers) needed.set(sum, data.get(sum)!.byteLength);
  }
  return { left, needed };
}

const sumsOf = ({ firstSum, needs: [begin, end] }: OutputPart & { kind: "sums" }): number[] =>
  Array.from({ length: end - begin }, (_, i) => firstSum + begin + i);

const NONE = 0;
const ALL = 0xffffffff;

/** Found by making it three times: of zeros, of ones, and of each checksum's own number. */
function withHoles({ firstSum, make }: OutputPart & { kind: "sums" }): Pick<LeftBytes, "bytes" | "holes"> {
  const bytes = Uint8Array.from(make(() => NONE));
  const ones = make(() => ALL);
  const numbered = Buffer.from(make((number) => number));
  const holes: [number, number][] = [];
  for (let at = 0; at < bytes.length; at += 1) {
    if (bytes[at] === ones[at]) continue;
    holes.push([at, firstSum + numbered.readUInt32LE(at)]);
    at += 3;
  }
  return { bytes, holes };
}

/** The bytes, once all checksums are known. @throws Error where one is not */
export function filled({ bytes, holes }: LeftBytes, crc32: (sum: number) => number): Uint8Array {
  const whole = Buffer.from(bytes);
  for (const [at, sum] of holes) whole.writeUInt32LE(crc32(sum), at);
  return whole;
}

/** Of data of so many bytes that was seen in pieces; null where a byte was not, or was twice. */
export function crcOfPieces(pieces: readonly SumPiece[], byteLength: number): number | null {
  let [end, crc] = [0, 0];
  for (const piece of pieces.toSorted((a, b) => a.begin - b.begin)) {
    if (piece.begin !== end) return null;
    crc = joinedCrc32(crc, piece.crc32, piece.end - piece.begin);
    end = piece.end;
  }
  return end === byteLength ? crc : null;
}

// CRC-32 of bytes that were seen in pieces, in any order: two neighbours give the checksum of both.
// madler/zlib@v1.3.1:crc32.c (`crc32_combine`): a CRC is a polynomial modulo p(x) over GF(2), with x^0 in the highest bit,
// and `n` more bytes multiply it by x^(8n).
import { crc32 } from "node:zlib";

const POLYNOMIAL = 0xedb88320;
const ONE = 0x80000000;

/** a(x) · b(x) mod p(x). */
function product(a: number, b: number): number {
  let sum = 0;
  let shifted = b;
  for (let bit = ONE; bit !== 0; bit >>>= 1) {
    if ((a & bit) !== 0) sum ^= shifted;
    shifted = (shifted & 1) === 0 ? shifted >>> 1 : (shifted >>> 1) ^ POLYNOMIAL;
  }
  return sum >>> 0;
}

/** x^(2^i) mod p(x). As p(x) is primitive, they come round after 32. */
const POWERS = Uint32Array.from({ length: 32 });
POWERS[0] = ONE >>> 1;
for (let i = 1; i < POWERS.length; i += 1) POWERS[i] = product(POWERS[i - 1]!, POWERS[i - 1]!);

/** x^(8 · count) mod p(x). */
function powerOf(count: number): number {
  let power = ONE;
  for (let [i, left] = [3, count]; left > 0; i += 1, left = Math.floor(left / 2)) {
    if (left % 2 === 1) power = product(POWERS[i % 32]!, power);
  }
  return power;
}

/** The CRC-32 of two runs of bytes, one after the other. @param length of the second one, in bytes */
export const joinedCrc32 = (first: number, second: number, length: number): number =>
  length === 0 ? first : (product(powerOf(length), first) ^ second) >>> 0;

/** CRC-32 of bytes [begin, end) of some data. */
export interface Crc32Piece {
  readonly begin: number;
  readonly end: number;
  readonly crc32: number;
}

/** A checksum that another thread finds: called, it waits for it. */
export type LateCrc32 = () => number;

/** Bytes [begin, end) that were seen, in pieces that follow each other: each has its checksum, or who finds it. */
interface Run {
  begin: number;
  end: number;
  pieces: { length: number; crc32: number | LateCrc32 }[];
}

/** In ascending order, neighbours joined. What others find is waited for once a checksum is asked for, not before. */
export class Crc32Pieces {
  readonly #runs: Run[] = [];
  /** Bytes that were seen. */
  #seen = 0;

  get all(): readonly Crc32Piece[] {
    return this.#runs.map((run) => ({ begin: run.begin, end: run.end, crc32: settled(run) }));
  }

  /** Pieces that have no neighbours. */
  get count(): number {
    return this.#runs.length;
  }

  get seen(): number {
    return this.#seen;
  }

  /** Of all data, where they are that long and were seen whole. */
  whole(byteLength: number): number | null {
    const [run] = this.#runs;
    if (byteLength === 0) return 0;
    return run?.begin === 0 && run.end === byteLength ? settled(run) : null;
  }

  /**
   * Bytes from `begin` on. Throws RangeError as `add` does.
   * @param found their checksum, where somebody else is at it
   */
  update(begin: number, bytes: Uint8Array, found: LateCrc32 | null = null): void {
    const last = this.#runs.at(-1);
    const piece = last?.pieces.at(-1);
    // Most come in order.
    if (found === null && last?.end === begin && typeof piece?.crc32 === "number") {
      piece.crc32 = crc32(bytes, piece.crc32);
      piece.length += bytes.length;
      last.end += bytes.length;
      this.#seen += bytes.length;
    } else this.#insert(begin, begin + bytes.length, found ?? crc32(bytes));
  }

  /** Throws RangeError for what overlaps with what was seen: nobody can tell then whether both are right. */
  add({ begin, end, crc32 }: Crc32Piece): void {
    this.#insert(begin, end, crc32);
  }

  /** The parts of [begin, end) that were not seen. */
  gaps(begin: number, end: number): (readonly [begin: number, end: number])[] {
    const gaps: (readonly [number, number])[] = [];
    let at = begin;
    for (const run of this.#runs) {
      if (run.begin >= end) break;
      if (run.begin > at) gaps.push([at, run.begin]);
      at = Math.max(at, run.end);
    }
    if (at < end) gaps.push([at, end]);
    return gaps;
  }

  /** Whether bytes up to there were seen. */
  touches(begin: number): boolean {
    return this.#runs.some(({ end }) => end === begin);
  }

  clear(): void {
    this.#runs.length = 0;
    this.#seen = 0;
  }

  #insert(begin: number, end: number, found: number | LateCrc32): void {
    if (end === begin) return;
    const runs = this.#runs;
    const at = runs.findLastIndex((run) => run.begin < begin) + 1;
    const [before, after] = [runs[at - 1], runs[at]];
    if ((before?.end ?? 0) > begin || end > (after?.begin ?? Number.POSITIVE_INFINITY))
      throw new RangeError(`bytes [${begin}, ${end}) were seen before`);
    this.#seen += end - begin;
    const run: Run = before?.end === begin ? before : { begin, end: begin, pieces: [] };
    if (run !== before) runs.splice(at, 0, run);
    run.pieces.push({ length: end - begin, crc32: found });
    run.end = end;
    if (after?.begin !== end) return;
    run.pieces.push(...after.pieces);
    run.end = after.end;
    runs.splice(runs.indexOf(after), 1);
  }
}

/** Waits for what others are at; then a run is one piece. */
function settled(run: Run): number {
  let [whole, seen] = [0, 0];
  for (const { length, crc32 } of run.pieces) {
    whole = joinedCrc32(whole, typeof crc32 === "number" ? crc32 : crc32(), length);
    seen += length;
  }
  run.pieces = [{ length: seen, crc32: whole }];
  return whole;
}

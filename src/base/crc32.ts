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

/** In ascending order, neighbours joined. */
export class Crc32Pieces {
  readonly #pieces: Crc32Piece[] = [];
  /** Whose checksums are not asked for yet, and what followed them. */
  #late: (Omit<Crc32Piece, "crc32"> & { readonly found: LateCrc32 })[] = [];

  get all(): readonly Crc32Piece[] {
    return this.#settled();
  }

  /** Bytes that were seen. */
  get seen(): number {
    return this.#settled().reduce((sum, { begin, end }) => sum + end - begin, 0);
  }

  /** Of all data, where they are that long and were seen whole. */
  whole(byteLength: number): number | null {
    const [piece] = this.#settled();
    if (byteLength === 0) return 0;
    return piece?.begin === 0 && piece.end === byteLength ? piece.crc32 : null;
  }

  /**
   * Bytes from `begin` on, of which none was seen.
   * @param found their checksum, where somebody else is at it
   */
  update(begin: number, bytes: Uint8Array, found: LateCrc32 | null = null): void {
    if (found !== null || this.#late.length > 0) {
      const here = found === null ? crc32(bytes) : 0;
      this.#late.push({ begin, end: begin + bytes.length, found: found ?? (() => here) });
      return;
    }
    const last = this.#pieces.at(-1);
    // Most come in order.
    if (last?.end === begin) {
      this.#pieces[this.#pieces.length - 1] = {
        begin: last.begin,
        end: begin + bytes.length,
        crc32: crc32(bytes, last.crc32),
      };
    } else this.add({ begin, end: begin + bytes.length, crc32: crc32(bytes) });
  }

  /** Throws RangeError for what overlaps with what was seen: nobody can tell then whether both are right. */
  add(piece: Crc32Piece): void {
    this.#settled();
    if (piece.end === piece.begin) return;
    const at = this.#pieces.findLastIndex(({ begin }) => begin < piece.begin) + 1;
    const [before, after] = [this.#pieces[at - 1], this.#pieces[at]];
    if ((before?.end ?? 0) > piece.begin || piece.end > (after?.begin ?? Number.POSITIVE_INFINITY))
      throw new RangeError(`bytes [${piece.begin}, ${piece.end}) were seen before`);
    this.#pieces.splice(at, 0, piece);
    if (after?.begin === piece.end) this.#pieces.splice(at, 2, joined(piece, after));
    if (before?.end === piece.begin) this.#pieces.splice(at - 1, 2, joined(before, this.#pieces[at]!));
  }

  /** The parts of [begin, end) that were not seen. */
  gaps(begin: number, end: number): (readonly [begin: number, end: number])[] {
    const gaps: (readonly [number, number])[] = [];
    let at = begin;
    for (const piece of this.#settled()) {
      if (piece.begin >= end) break;
      if (piece.begin > at) gaps.push([at, piece.begin]);
      at = Math.max(at, piece.end);
    }
    if (at < end) gaps.push([at, end]);
    return gaps;
  }

  /** Whether bytes up to there were seen. */
  touches(begin: number): boolean {
    return this.#settled().some(({ end }) => end === begin);
  }

  clear(): void {
    this.#late = [];
    this.#pieces.length = 0;
  }

  /** Waits for what others are at. */
  #settled(): readonly Crc32Piece[] {
    const late = this.#late;
    this.#late = [];
    for (const { begin, end, found } of late) this.add({ begin, end, crc32: found() });
    return this.#pieces;
  }
}

const joined = (first: Crc32Piece, second: Crc32Piece): Crc32Piece => ({
  begin: first.begin,
  end: second.end,
  crc32: joinedCrc32(first.crc32, second.crc32, second.end - second.begin),
});

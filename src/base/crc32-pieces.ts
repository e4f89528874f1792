// The CRC-32 of data that is seen in pieces, in any order.
import { crc32 } from "node:zlib";
import { joinedCrc32 } from "./crc32.ts";

/** CRC-32 of bytes [begin, end) of some data. */
export interface Crc32Piece {
  readonly begin: number;
  readonly end: number;
  readonly crc32: number;
}

/** In ascending order, neighbours joined. */
export class Crc32Pieces {
  readonly #pieces: Crc32Piece[] = [];

  get all(): readonly Crc32Piece[] {
    return this.#pieces;
  }

  /** Bytes that were seen. */
  get seen(): number {
    return this.#pieces.reduce((sum, { begin, end }) => sum + end - begin, 0);
  }

  /** Of all data, where they are that long and were seen whole. */
  whole(byteLength: number): number | null {
    const [piece] = this.#pieces;
    if (byteLength === 0) return 0;
    return piece?.begin === 0 && piece.end === byteLength ? piece.crc32 : null;
  }

  /** Bytes from `begin` on, of which none was seen. */
  update(begin: number, bytes: Uint8Array): void {
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
    for (const piece of this.#pieces) {
      if (piece.begin >= end) break;
      if (piece.begin > at) gaps.push([at, piece.begin]);
      at = Math.max(at, piece.end);
    }
    if (at < end) gaps.push([at, end]);
    return gaps;
  }

  /** Whether bytes up to there were seen. */
  touches(begin: number): boolean {
    return this.#pieces.some(({ end }) => end === begin);
  }

  clear(): void {
    this.#pieces.length = 0;
  }
}

const joined = (first: Crc32Piece, second: Crc32Piece): Crc32Piece => ({
  begin: first.begin,
  end: second.end,
  crc32: joinedCrc32(first.crc32, second.crc32, second.end - second.begin),
});

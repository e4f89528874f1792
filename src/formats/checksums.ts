// The CRC-32s that a file holds of its own data: found in pieces, by whoever writes them, in any order.
import { type Crc32Piece, Crc32Pieces, type LateCrc32 } from "../base/crc32.ts";
import type { OutputFile, OutputPart } from "./output.ts";

/** Of the data of one checksum. */
export interface SumPiece extends Crc32Piece {
  /** Number of the checksum in its file. */
  readonly sum: number;
}

/** Whoever is given bytes may find their checksum later; null where it is quicker to do it at once. */
export type GivesCrc32 = (bytes: Uint8Array) => LateCrc32 | null;

/** What follows data is made of their checksum: it is waited for, unless the last bytes are done at once meanwhile. */
const LAST_BYTES = 2 ** 22;

/** What is known of the checksums of one file. */
export class Checksums {
  /** Length of the data of each, by number. */
  readonly #lengths: number[] = [];
  readonly #known = new Map<number, Crc32Pieces>();

  constructor({ parts }: Pick<OutputFile, "parts">) {
    for (const part of parts) {
      if (part.kind === "tensor" && part.sum !== undefined)
        this.#lengths[part.sum] = (this.#lengths[part.sum] ?? 0) + part.end - part.begin;
    }
  }

  /** The data of a checksum from byte `begin` on, none of which was seen. */
  update(sum: number, begin: number, bytes: Uint8Array, give: GivesCrc32 = () => null): void {
    const end = begin + bytes.length;
    const isLast = end > (this.#lengths[sum] ?? 0) - LAST_BYTES;
    this.#of(sum, end).update(begin, bytes, isLast ? null : give(bytes));
  }

  /** Throws RangeError for what overlaps with what was seen, or lies outside. */
  add({ sum, begin, end, crc32 }: SumPiece): void {
    this.#of(sum, end).add({ begin, end, crc32 });
  }

  #of(sum: number, end: number): Crc32Pieces {
    const length = this.#lengths[sum] ?? 0;
    if (end > length) throw new RangeError(`checksum ${sum} is one of ${length} bytes, not of ${end}`);
    const known = this.#known.get(sum) ?? new Crc32Pieces();
    this.#known.set(sum, known);
    return known;
  }

  /** Whether all that a part is made of is known. */
  canMake({ firstSum, needs: [begin, end] }: OutputPart & { kind: "sums" }): boolean {
    for (let i = begin; i < end; i += 1) if (this.#whole(firstSum + i) === null) return false;
    return true;
  }

  /** Throws Error where not all of it is known. */
  make({ firstSum, make }: OutputPart & { kind: "sums" }): Uint8Array {
    return make((number) => this.#value(firstSum + number));
  }

  /** All that is known, as data. */
  get pieces(): readonly SumPiece[] {
    return [...this.#known].flatMap(([sum, { all }]) => all.map((piece) => ({ sum, ...piece })));
  }

  #value(sum: number): number {
    const whole = this.#whole(sum);
    if (whole !== null) return whole;
    const seen = this.#known.get(sum)?.seen ?? 0;
    throw new Error(`a checksum of ${this.#lengths[sum] ?? 0} bytes was asked for after ${seen} of them`);
  }

  #whole(sum: number): number | null {
    const length = this.#lengths[sum] ?? 0;
    return length === 0 ? 0 : (this.#known.get(sum)?.whole(length) ?? null);
  }
}

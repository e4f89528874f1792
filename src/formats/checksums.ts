// The CRC-32s that a file holds of its own data: found in pieces, by whoever writes them, in any order.
import { crc32 } from "node:zlib";
import { joinedCrc32 } from "../base/crc32.ts";
import type { OutputFile, OutputPart } from "./output.ts";

/** CRC-32 of bytes [begin, end) of the data of one checksum. */
export interface SumPiece {
  /** Number of the checksum in its file. */
  readonly sum: number;
  readonly begin: number;
  readonly end: number;
  readonly crc32: number;
}

/** What is known of the checksums of one file. */
export class Checksums {
  /** Length of the data of each, by number. */
  readonly #lengths: number[] = [];
  /** By number, in ascending order, neighbours joined. */
  readonly #pieces = new Map<number, SumPiece[]>();

  constructor({ parts }: Pick<OutputFile, "parts">) {
    for (const part of parts) {
      if (part.kind === "tensor" && part.sum !== undefined)
        this.#lengths[part.sum] = (this.#lengths[part.sum] ?? 0) + part.end - part.begin;
    }
  }

  /** The data of a checksum from byte `begin` on. */
  update(sum: number, begin: number, bytes: Uint8Array): void {
    const before = this.#pieces.get(sum)?.at(-1);
    // Most come in order.
    if (before?.end === begin) {
      const piece = { ...before, end: begin + bytes.length, crc32: crc32(bytes, before.crc32) };
      this.#pieces.get(sum)!.splice(-1, 1, piece);
    } else this.add({ sum, begin, end: begin + bytes.length, crc32: crc32(bytes) });
  }

  /** Throws Error for what overlaps with what is known: nobody can tell then whether both are right. */
  add(piece: SumPiece): void {
    if (piece.end === piece.begin) return;
    const pieces = this.#pieces.get(piece.sum) ?? [];
    this.#pieces.set(piece.sum, pieces);
    const at = pieces.findLastIndex(({ begin }) => begin < piece.begin) + 1;
    const [before, after] = [pieces[at - 1], pieces[at]];
    const overlaps = (before?.end ?? 0) > piece.begin || piece.end > (after?.begin ?? this.#lengthOf(piece.sum));
    if (overlaps)
      throw new Error(`checksum ${piece.sum}: bytes [${piece.begin}, ${piece.end}) are known, or none of it`);
    pieces.splice(at, 0, piece);
    if (after?.begin === piece.end) pieces.splice(at, 2, joined(piece, after));
    if (before?.end === piece.begin) pieces.splice(at - 1, 2, joined(before, pieces[at]!));
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
    return [...this.#pieces.values()].flat();
  }

  #value(sum: number): number {
    const whole = this.#whole(sum);
    if (whole !== null) return whole;
    const seen = (this.#pieces.get(sum) ?? []).reduce((count, { begin, end }) => count + end - begin, 0);
    throw new Error(`a checksum of ${this.#lengthOf(sum)} bytes was asked for after ${seen} of them`);
  }

  #whole(sum: number): number | null {
    const length = this.#lengthOf(sum);
    const [piece] = this.#pieces.get(sum) ?? [];
    if (length === 0) return 0;
    return piece?.begin === 0 && piece.end === length ? piece.crc32 : null;
  }

  #lengthOf = (sum: number): number => this.#lengths[sum] ?? 0;
}

const joined = (first: SumPiece, second: SumPiece): SumPiece => ({
  ...first,
  end: second.end,
  crc32: joinedCrc32(first.crc32, second.crc32, second.end - second.begin),
});

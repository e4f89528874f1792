import { Crc32Pieces } from "../../base/crc32.ts";
import type { ByteSource } from "../io/byte-source.ts";
import { refuse, type Where } from "../io/refuse.ts";
import { sharedSums } from "./shared-sums.ts";

const VERIFY_CHUNK = 1 << 20;
/** Reads that leave more gaps than these are no pass over the data: `verify` reads them again. */
const MOST_PIECES = 64;

/** The bytes of a storage. Their CRC-32 is computed of what is read, in whatever order. */
export class StoredRecord {
  private readonly seen: Crc32Pieces;
  /** Whether all of it is what it is to be. */
  private isRight: boolean;

  /** @param expectedCrc null where the container has none (legacy `.pt`, zip files saved without) */
  constructor(
    private readonly source: ByteSource,
    private readonly begin: number,
    readonly byteLength: number,
    private readonly expectedCrc: number | null,
    private readonly where: Where,
  ) {
    this.isRight = expectedCrc === null;
    this.seen = (expectedCrc === null ? null : sharedSums()?.noted(this.place)) ?? new Crc32Pieces();
    if (byteLength === 0) this.compare();
  }

  get hasChecksum(): boolean {
    return this.expectedCrc !== null;
  }

  /** The same for whoever opens the file. */
  private get place(): string | null {
    return this.source.at === undefined ? null : `${this.source.at + this.begin} ${this.source.name}`;
  }

  /** Reads [position, position + target.length), which the caller knows to lie inside. */
  read(position: number, target: Uint8Array): void {
    this.source.read(this.begin + position, target);
    if (this.isRight) return;
    const end = position + target.length;
    for (const [from, to] of this.seen.gaps(position, end)) {
      if (this.seen.all.length >= MOST_PIECES && !this.seen.touches(from)) continue;
      this.seen.update(from, target.subarray(from - position, to - position));
    }
    this.compare();
  }

  /** Reads what neither this nor anyone else has read, so that every byte is checked. */
  verify(): void {
    if (this.isRight) return;
    for (const piece of sharedSums()?.found(this.place) ?? []) {
      const [gap] = this.seen.gaps(piece.begin, piece.end);
      if (gap?.[0] === piece.begin && gap[1] === piece.end) this.seen.add(piece);
    }
    this.compare();
    const gaps = this.isRight ? [] : this.seen.gaps(0, this.byteLength);
    const chunk = new Uint8Array(Math.min(VERIFY_CHUNK, ...gaps.map(([from, to]) => to - from)));
    for (const [from, to] of gaps) {
      for (let at = from; at < to; at += chunk.length)
        this.read(at, chunk.subarray(0, Math.min(chunk.length, to - at)));
    }
  }

  /** Once all of it was seen. */
  private compare(): void {
    const crc = this.isRight ? null : this.seen.whole(this.byteLength);
    if (crc === null) return;
    this.isRight = crc === this.expectedCrc;
    if (this.isRight) return;
    this.seen.clear();
    throw refuse(this.where, "CRC_MISMATCH", "the data do not match their CRC-32: at least one bit has changed", {
      expected: hex(this.expectedCrc),
      found: hex(crc),
      help: "copy the file again from its source; torch itself would load the wrong numbers without a word",
    });
  }
}

const hex = (crc: number | null): string => (crc ?? 0).toString(16).padStart(8, "0");

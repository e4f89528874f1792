import { crc32 } from "node:zlib";
import type { ByteSource } from "../io/byte-source.ts";
import { refuse, type Where } from "../io/refuse.ts";

const VERIFY_CHUNK = 1 << 20;

/** The bytes of a storage. As far as they are read in ascending order, their CRC-32 is computed on the way. */
export class StoredRecord {
  /** Bytes [0, checked) have gone into `crc`. */
  private checked = 0;
  private crc = 0;

  /** @param expectedCrc null where the container has none (legacy `.pt`, zip files saved without) */
  constructor(
    private readonly source: ByteSource,
    private readonly begin: number,
    readonly byteLength: number,
    private readonly expectedCrc: number | null,
    private readonly where: Where,
  ) {
    if (expectedCrc === null) this.checked = byteLength;
    else if (byteLength === 0) this.compare();
  }

  get hasChecksum(): boolean {
    return this.expectedCrc !== null;
  }

  /** Reads [position, position + target.length), which the caller knows to lie inside. */
  read(position: number, target: Uint8Array): void {
    this.source.read(this.begin + position, target);
    const end = position + target.length;
    if (position > this.checked || end <= this.checked) return;
    this.crc = crc32(target.subarray(this.checked - position), this.crc);
    this.checked = end;
    if (end === this.byteLength) this.compare();
  }

  /** Reads what was not yet read in order, so that every byte is checked. */
  verify(): void {
    if (this.checked === this.byteLength) return;
    const chunk = new Uint8Array(Math.min(VERIFY_CHUNK, this.byteLength - this.checked));
    while (this.checked < this.byteLength) {
      this.read(this.checked, chunk.subarray(0, Math.min(chunk.length, this.byteLength - this.checked)));
    }
  }

  private compare(): void {
    const { crc } = this;
    if (crc === this.expectedCrc) return;
    this.checked = 0;
    this.crc = 0;
    throw refuse(this.where, "CRC_MISMATCH", "the data do not match their CRC-32: at least one bit has changed", {
      expected: hex(this.expectedCrc),
      found: hex(crc),
      help: "copy the file again from its source; torch itself would load the wrong numbers without a word",
    });
  }
}

const hex = (crc: number | null): string => (crc ?? 0).toString(16).padStart(8, "0");

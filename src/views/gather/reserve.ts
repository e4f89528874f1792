/** What is taken at once for small tensors. */
const LEAST_BYTES = 2 ** 12;

/** Memory of at most `length` bytes, taken as it is asked for: small models need little of it, and many are opened in turn. */
export class Reserve {
  constructor(
    readonly length: number,
    private bytes: Uint8Array = new Uint8Array(0),
  ) {}

  /** Its first bytes. What they hold is kept as long as no more are asked for. */
  first(byteLength: number): Uint8Array {
    if (byteLength > this.bytes.length && byteLength <= this.length)
      this.bytes = new Uint8Array(Math.min(this.length, Math.max(LEAST_BYTES, 2 ** Math.ceil(Math.log2(byteLength)))));
    return this.bytes.subarray(0, byteLength);
  }
}

// Frames of LZ4, unpacked: what Xet keeps chunks in. The format is that of lz4's own documents; checksums are not looked at, since
// whoever unpacks here compares a SHA-256 of all.

const MAGIC = 0x184d2204;
const IS_PLAIN = 0x80000000;

/** @param length of what comes out of it */
export function unframed(frame: Buffer, length: number): Buffer {
  if (frame.readUInt32LE(0) !== MAGIC) throw new Error("no frame of LZ4");
  const flags = frame[4]!;
  const hasBlockSums = (flags & 0x10) !== 0;
  // Flags, the block's size and a checksum of both; the content's size and a dictionary's number where flags say so.
  let at = 7 + (flags & 0x08 ? 8 : 0) + (flags & 0x01 ? 4 : 0);
  const out = Buffer.alloc(length);
  let written = 0;
  for (;;) {
    const size = frame.readUInt32LE(at);
    at += 4;
    if (size === 0) break;
    const block = frame.subarray(at, at + (size % IS_PLAIN));
    if (size >= IS_PLAIN) written += block.copy(out, written);
    else written = unpacked(block, out, written);
    at += block.length + (hasBlockSums ? 4 : 0);
  }
  if (written !== length) throw new Error(`${written} bytes, not ${length}`);
  return out;
}

/** @returns where the next block begins */
function unpacked(block: Buffer, out: Buffer, begin: number): number {
  let [at, to] = [0, begin];
  const long = (short: number): number => {
    let length = short;
    if (short === 15) {
      let more = 255;
      while (more === 255) {
        more = block[at++]!;
        length += more;
      }
    }
    return length;
  };
  while (at < block.length) {
    const token = block[at++]!;
    const literals = long(token >> 4);
    to += block.copy(out, to, at, at + literals);
    at += literals;
    if (at >= block.length) break;
    const distance = block.readUInt16LE(at);
    at += 2;
    // What is copied may be what this very copy writes: byte by byte.
    for (let left = long(token & 15) + 4; left > 0; left -= 1) out[to] = out[to++ - distance]!;
  }
  return to;
}

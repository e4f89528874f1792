// CRC-32 of bytes that were seen in pieces, in any order: two neighbours give the checksum of both.
// madler/zlib@v1.3.1:crc32.c (`crc32_combine`): a CRC is a polynomial modulo p(x) over GF(2), with x^0 in the highest bit,
// and `n` more bytes multiply it by x^(8n).

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

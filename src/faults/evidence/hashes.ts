// Fingerprints of parts of a tensor: what equal parts have in common, so that a moved part is found again.
import { BLOCK, type Values } from "./values.ts";

/** Two hashes of 32 bits a part, run over the words of its doubles. */
class Hashes {
  private readonly a: Uint32Array;
  private readonly b: Uint32Array;

  constructor(parts: number) {
    this.a = new Uint32Array(parts).fill(0x811c9dc5);
    this.b = new Uint32Array(parts).fill(0x9e3779b1);
  }

  add(part: number, words: Uint32Array, begin: number, end: number): void {
    let a = this.a[part]! | 0;
    let b = this.b[part]! | 0;
    for (let i = begin; i < end; i++) {
      const word = words[i]! | 0;
      a = Math.imul(a ^ word, 0x01000193);
      a ^= a >>> 15;
      b = Math.imul(b + word, 0x85ebca6b);
      b ^= b >>> 13;
    }
    this.a[part] = a;
    this.b[part] = b;
  }

  /** As numbers of 53 bits. */
  values(): Float64Array {
    return Float64Array.from(this.a, (a, i) => a * 2 ** 21 + (this.b[i]! & 0x1fffff));
  }
}

/** Of each run of `width` elements. With `most`, only so many of its first elements count. */
export function lineHashes(values: Values, width: number, most = width): Float64Array {
  const lines = values.count / width;
  const hashes = new Hashes(lines);
  const together = most === width ? Math.max(1, Math.floor(BLOCK / width)) : 1;
  const block = new Float64Array(Math.min(BLOCK, together * most));
  const words = new Uint32Array(block.buffer);
  const step = Math.min(most, block.length);
  for (let line = 0; line < lines; line += together) {
    const count = Math.min(together, lines - line);
    for (let at = 0; at < most; at += step) {
      const size = Math.min(step, most - at);
      values.read(line * width + at, block.subarray(0, count * size));
      for (let i = 0; i < count; i++) hashes.add(line + i, words, 2 * i * size, 2 * (i + 1) * size);
    }
  }
  return hashes.values();
}

/** Of each column of the given lines of `width` elements. */
export function columnHashes(values: Values, width: number, lines: readonly number[]): Float64Array {
  const hashes = new Hashes(width);
  const line = new Float64Array(width);
  const words = new Uint32Array(line.buffer);
  for (const at of lines) {
    values.read(at * width, line);
    for (let i = 0; i < width; i++) hashes.add(i, words, 2 * i, 2 * i + 2);
  }
  return hashes.values();
}

/** Of some elements at the beginning, in the middle and at the end. */
export function sampleHash(values: Values): number {
  const hashes = new Hashes(1);
  const size = Math.min(64, values.count);
  const block = new Float64Array(size);
  const words = new Uint32Array(block.buffer);
  for (const begin of new Set([0, Math.floor((values.count - size) / 2), values.count - size])) {
    values.read(begin, block);
    hashes.add(0, words, 0, 2 * size);
  }
  return hashes.values()[0]!;
}

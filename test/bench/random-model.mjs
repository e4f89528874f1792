// A model in one safetensors file with random weights, written a block at a time.
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";

const BLOCK_BYTES = 1 << 21;

/** Fills with bf16 values in ±[2⁻⁸, 2⁻⁴): sign and low bits from xorshift32. */
export function fillRandom(block, state = { x: 2463534242 }) {
  fill(block, state, (x) => (x & 0x8000) | 0x3b80 | (x & 0x1ff));
}

function fill(block, state, word) {
  let { x } = state;
  for (let i = 0; i < block.length; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    block[i] = word(x);
  }
  state.x = x;
}

/** Two bytes at a time of what a tensor of each type holds. */
const WORDS = {
  BF16: (x) => (x & 0x8000) | 0x3b80 | (x & 0x1ff),
  /** Without the two codes of NaN. */
  F8_E4M3: (x) => x & 0xfbfb,
  /** FP4 codes, or powers of two near 1. */
  U8: (x) => x & 0xffff,
  powers: (x) => 0x7878 | (x & 0x0707),
  /** f32 values near 2⁻¹⁰, as both halves of each are alike. */
  F32: (x) => 0x3a80 | (x & 0x3f),
};

const BYTES = { BF16: 2, F8_E4M3: 1, U8: 1, F32: 4 };

/**
 * Writes config.json and model.safetensors to a new directory; returns the bytes of all tensors.
 * @param tensors `{ key, dtype, shape }`, sorted here by key; `words`: what it holds, where its type does not tell
 */
export function writeRandomModel(directory, config, tensors) {
  mkdirSync(directory);
  writeFileSync(join(directory, "config.json"), JSON.stringify(config));
  const sorted = tensors.toSorted((a, b) => (a.key < b.key ? -1 : 1));
  const header = { __metadata__: { format: "pt" } };
  let offset = 0;
  for (const { key, dtype, shape } of sorted) {
    const bytes = BYTES[dtype] * shape.reduce((a, b) => a * b, 1);
    header[key] = { dtype, shape, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  let text = JSON.stringify(header);
  text += " ".repeat((8 - (text.length % 8)) % 8);
  const file = openSync(join(directory, "model.safetensors"), "wx");
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  writeSync(file, length);
  writeSync(file, text);
  const block = new Uint16Array(BLOCK_BYTES / 2);
  const state = { x: 2463534242 };
  for (const { key, dtype, words = dtype } of sorted) {
    const [begin, end] = header[key].data_offsets;
    for (let left = end - begin; left > 0; left -= BLOCK_BYTES) {
      const bytes = Math.min(left, BLOCK_BYTES);
      fill(block.subarray(0, Math.ceil(bytes / 2)), state, WORDS[words]);
      writeSync(file, new Uint8Array(block.buffer, 0, bytes));
    }
  }
  closeSync(file);
  return offset;
}

import { expect, test } from "vitest";
import { BLOCK_BYTES, BLOCKS_BYTES, Blocks } from "../../../src/base/threads/blocks.ts";

const COUNT = BLOCKS_BYTES / BLOCK_BYTES;

test("a block is lent again when nobody uses it any more, and not before", async () => {
  const blocks = new Blocks();
  const uses = new Int32Array(blocks.shared.uses);
  const first = blocks.lend(10)!;
  blocks.use(first.byteOffset);
  for (let i = 1; i < COUNT; i += 1) expect(blocks.lend(BLOCK_BYTES)!.byteOffset).not.toBe(first.byteOffset);
  Atomics.sub(uses, 0, 1);
  expect(blocks.lend(1)!.byteOffset).toBe(first.byteOffset);
  expect(blocks.lend(BLOCK_BYTES + 1)).toBeNull();
});

test("bytes from elsewhere are copied, small ones behind each other, and those of a block stay where they are", () => {
  const blocks = new Blocks();
  const seen: Uint8Array[] = [];
  const place = (bytes: Uint8Array) => blocks.placed(bytes, (placed) => seen.push(placed));
  const large = Uint8Array.from({ length: 2 * BLOCK_BYTES }, (_, i) => i % 251);
  for (const bytes of [large.subarray(0, 5), large.subarray(5, 9), large, new Uint8Array()]) place(bytes);
  expect(Buffer.concat(seen).equals(Buffer.concat([large.subarray(0, 9), large]))).toBe(true);
  expect(seen.map(({ byteOffset }) => byteOffset)).toEqual([0, 8, 16, BLOCK_BYTES, 2 * BLOCK_BYTES]);
  const lent = blocks.lend(7)!;
  place(lent);
  expect(seen.at(-1)).toBe(lent);
});

test("a block that is lent takes no more copies", () => {
  const blocks = new Blocks();
  const seen: number[] = [];
  const place = () => blocks.placed(new Uint8Array(3), ({ byteOffset }) => seen.push(byteOffset));
  place();
  const lent = Array.from({ length: COUNT }, () => blocks.lend(BLOCK_BYTES)!.byteOffset);
  place();
  expect(lent.at(-1)).toBe(0);
  expect(seen).toEqual([0, BLOCK_BYTES]);
});

test("a block that is held is not lent, however many are asked for", () => {
  const blocks = new Blocks();
  const held = blocks.lend(BLOCK_BYTES)!;
  const lent = new Set<number>();
  blocks.hold(held, () => {
    for (let i = 0; i < 2 * COUNT; i += 1) lent.add(blocks.lend(1)!.byteOffset);
  });
  expect(lent.size).toBe(COUNT - 1);
  expect(lent.has(held.byteOffset)).toBe(false);
  const after = Array.from({ length: COUNT }, () => blocks.lend(1)!.byteOffset);
  expect(after).toContain(held.byteOffset);
});

// Casts into blocks that threads share: the same bytes whoever else casts, or asks for blocks, while a sink takes them.
import { expect, it } from "vitest";
import { BLOCK_BYTES, Blocks } from "../../src/base/threads/blocks.ts";
import { cast, castingRead, castingSink } from "../../src/views/cast.ts";
import { Gatherer, type Sink } from "../../src/views/gather.ts";

const COUNT = 700_001;
const source = Uint8Array.from({ length: 2 * COUNT }, (_, i) => (i % 2 === 0 ? i * 31 + (i >> 9) : 0x3d + (i % 5)));
const piece = {
  source: "a",
  sourceOffset: 0,
  targetOffset: 0,
  sizes: [COUNT],
  sourceStrides: [1],
  targetStrides: [1],
};
const move = { key: "t", shape: [COUNT], pieces: [piece], rule: "test" };

it.each([
  ["F32", 13],
  ["F64", 13],
  ["F16", 13],
  ["F32", 0],
] as const)("BF16 to %s, while each sink casts and asks for %d blocks", (to, asked) => {
  const blocks = new Blocks();
  const gatherer = new Gatherer(2 ** 22, { blocks });
  const elsewhere = castingRead((_, __, target) => target.fill(0xff), "BF16", "F32");
  const parts: Buffer[] = [];
  // As the writer of a file and the seal do: each takes its bytes, and reads others through a cast.
  const takes: Sink = (bytes) =>
    blocks.placed(bytes, (placed) => {
      parts.push(Buffer.from(placed));
      elsewhere("b", 0, new Uint8Array(2 ** 17));
      for (let i = 0; i < asked; i += 1) blocks.lend(BLOCK_BYTES)!.fill(0xee);
    });
  const sink = castingSink(takes, "BF16", to, undefined, (n) => gatherer.lend(n));
  // Pieces of odd sizes, so that none fits into what is left of a block.
  for (const [begin, end] of [
    [0, 4096],
    [4096, 20_480],
    [20_480, 2 * COUNT],
  ] as const) {
    gatherer.gather(
      move,
      "BF16",
      [begin, end],
      (_, at, target) => target.set(source.subarray(at, at + target.length)),
      sink,
    );
  }
  expect(Buffer.concat(parts).equals(cast(source, "BF16", to))).toBe(true);
});

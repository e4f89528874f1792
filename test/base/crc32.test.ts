import { crc32 } from "node:zlib";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Crc32Pieces, joinedCrc32 } from "../../src/base/crc32.ts";

test("two runs of bytes, of any lengths, none among them", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 300 }), (a, b) => {
      expect(joinedCrc32(crc32(a), crc32(b), b.length)).toBe(crc32(Buffer.concat([a, b])));
    }),
  );
});

test("runs longer than any buffer: zeros are doubled, and joined in two ways", () => {
  let [zeros, length] = [crc32(new Uint8Array(2 ** 10)), 2 ** 10];
  for (let log = 10; log < 40; log += 1) {
    if (log === 20) expect(zeros).toBe(crc32(new Uint8Array(2 ** 20)));
    zeros = joinedCrc32(zeros, zeros, length);
    length *= 2;
  }
  expect(length).toBe(2 ** 40);
  const left = joinedCrc32(joinedCrc32(1234, zeros, length), 99, 7);
  expect(joinedCrc32(1234, joinedCrc32(zeros, 99, 7), length + 7)).toBe(left);
});

test("checksums that come later, between others: nobody is asked before it is needed, and each once", () => {
  const data = Uint8Array.from({ length: 1000 }, (_, i) => (i * 31) % 256);
  const asked: number[] = [];
  const pieces = new Crc32Pieces();
  for (let at = 0; at < 1000; at += 100) {
    const bytes = data.slice(at, at + 100);
    const later = (): number => {
      asked.push(at);
      return crc32(bytes);
    };
    pieces.update(at, bytes, at % 300 === 100 ? later : null);
  }
  expect(asked).toEqual([]);
  expect([pieces.whole(1000), pieces.seen]).toEqual([crc32(data), 1000]);
  expect(asked).toEqual([100, 400, 700]);
  pieces.update(1000, data, () => 1);
  expect(pieces.whole(2000)).toBe(joinedCrc32(crc32(data), 1, 1000));
  pieces.update(500, data, () => 1);
  expect(() => pieces.all).toThrow(RangeError);
});

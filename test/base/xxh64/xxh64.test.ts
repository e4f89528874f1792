// Our XXH64 against hash-wasm's, however the bytes come, and whoever goes on.
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { createXXHash64 } from "hash-wasm";
import { expect, it } from "vitest";
import { file, source } from "../../../scripts/xxh64-kernel.mjs";
import { STATE_BYTES, Xxh64 } from "../../../src/base/xxh64/xxh64.ts";

const lengths = fc.array(fc.oneof(fc.nat(40), fc.nat(9), fc.nat(70_000)), { maxLength: 6 });

it("bytes of any length, from the memory and from elsewhere, by two who take turns", async () => {
  const theirs = await createXXHash64();
  const memory = new WebAssembly.Memory({ initial: 12, maximum: 12, shared: true });
  const inside = new Uint8Array(memory.buffer, 131_072);
  for (let i = 0; i < inside.length; i += 1) inside[i] = (i * 2_654_435_761) >>> 13;
  const stage = new Uint8Array(memory.buffer, 4096, 1000);
  const [first, second] = [new Xxh64(memory, STATE_BYTES, stage), new Xxh64(memory, STATE_BYTES, stage)];
  fc.assert(
    fc.property(lengths, fc.nat(100), (all, begin) => {
      theirs.init();
      second.reset();
      let at = begin;
      for (const [i, length] of all.entries()) {
        const bytes = inside.subarray(at, at + length);
        (i % 2 === 0 ? first : second).update(i % 3 === 0 ? bytes.slice() : bytes);
        theirs.update(bytes.slice());
        at += length;
        if (i === 2) first.digest();
      }
      expect(first.digest()).toBe(theirs.digest("hex"));
    }),
    { numRuns: 150 },
  );
});

it("in a memory of its own", async () => {
  const [hash, theirs] = [Xxh64.alone(), await createXXHash64()];
  const bytes = Uint8Array.from({ length: 70_000 }, (_, i) => (i * 2_654_435_761) >>> 13);
  fc.assert(
    fc.property(lengths, (all) => {
      theirs.init();
      hash.reset();
      for (const length of all) for (const each of [hash, theirs]) each.update(bytes.subarray(70_000 - length));
      expect(hash.digest()).toBe(theirs.digest("hex"));
    }),
    { numRuns: 50 },
  );
  hash.reset();
  expect(hash.digest()).toBe("ef46db3751d8e999");
  hash.update(Buffer.from("abc"));
  expect(hash.digest()).toBe("44bc2cf5ad770999");
});

it("the kernel is what its script makes", async () => {
  expect(readFileSync(file, "utf8")).toBe(await source());
});

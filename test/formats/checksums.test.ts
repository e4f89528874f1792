import { crc32 } from "node:zlib";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Checksums } from "../../src/formats/checksums.ts";
import { planDcp } from "../../src/formats/dcp/plan.ts";
import { type OutputFile, partsWithin } from "../../src/formats/output.ts";
import { planTorchFile } from "../../src/formats/pt/plan.ts";

const tensors = [5, 0, 7, 300].map((n, i) => ({ key: `t${i}`, dtype: "U8" as const, shape: [n] }));
const data = new Map(tensors.map(({ key, shape }, t) => [key, Buffer.alloc(shape[0]!, t + 1)]));

/** Parts made of checksums, after all data came in the given pieces. */
function made(file: OutputFile, pieces: readonly (readonly [key: string, begin: number, end: number])[]): Uint8Array[] {
  const whole = new Checksums(file);
  for (const [key, begin, end] of pieces) {
    // Each from a writer of its own.
    const own = new Checksums(file);
    const placed = [...partsWithin(file)].find(({ part }) => part.kind === "tensor" && part.key === key)!;
    if (placed.part.kind !== "tensor") throw new Error("no tensor");
    own.update(placed.part.sum!, placed.sumBegin + begin, data.get(key)!.subarray(begin, end));
    for (const piece of own.pieces) whole.add(JSON.parse(JSON.stringify(piece)));
  }
  return file.parts.flatMap((part) => (part.kind === "sums" ? [whole.make(part)] : []));
}

const wholes = tensors.filter(({ shape }) => shape[0]! > 0).map(({ key, shape: [n] }) => [key, 0, n!] as const);

test.each([
  ["a file of torch.save", planTorchFile(tensors, "a.pt")[0]!],
  ["a rank of DCP", planDcp(tensors)[0]!],
])("%s: pieces in any order make what the whole makes", (_, file) => {
  const expected = made(file, wholes);
  expect(expected.length).toBeGreaterThan(0);
  fc.assert(
    fc.property(
      fc.array(fc.nat(300), { maxLength: 8 }),
      fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })),
      (cuts, random) => {
        const pieces = wholes.flatMap(([key, begin, end]) => {
          const inside = [...new Set(cuts.filter((cut) => cut > begin && cut < end))].sort((a, b) => a - b);
          const edges = [begin, ...inside, end];
          return edges.slice(1).map((to, i) => [key, edges[i]!, to] as const);
        });
        const shuffled = pieces
          .map((piece) => ({ piece, at: random.next().value }))
          .sort((a, b) => a.at - b.at)
          .map(({ piece }) => piece);
        expect(made(file, shuffled)).toEqual(expected);
      },
    ),
    { numRuns: 50 },
  );
});

test("what is missing, overlaps or lies outside is refused", () => {
  const [file] = planTorchFile(tensors, "a.pt");
  const [first] = file!.parts.filter((part) => part.kind === "sums");
  const sums = new Checksums(file!);
  sums.update(0, 0, new Uint8Array(2));
  sums.update(0, 4, new Uint8Array(1));
  expect(sums.canMake(first!)).toBe(false);
  expect(() => sums.make(first!)).toThrow("a checksum of 5 bytes was asked for after 3 of them");
  for (const [begin, end] of [
    [1, 3],
    [3, 5],
    [0, 1],
    [4, 6],
    [9, 10],
  ] as const)
    expect(() => sums.add({ sum: 0, begin, end, crc32: 0 })).toThrow(RangeError);
  sums.update(0, 2, new Uint8Array(2));
  expect(sums.canMake(first!)).toBe(true);
  expect(sums.pieces).toEqual([{ sum: 0, begin: 0, end: 5, crc32: crc32(new Uint8Array(5)) }]);
});

import fc from "fast-check";
import { expect, it } from "vitest";
import { jsonByteLength, jsonPieces, jsonText } from "../../src/base/json/pieces.ts";

const oneText = (value: unknown) => JSON.stringify(value, null, 1);

it.each<[string, unknown]>([
  ["nothing in a list", []],
  ["nothing in an object", {}],
  ["nested", { a: [1, [], {}, { b: null, "": true }], c: 'a "quoted" word\n' }],
  ["what JSON leaves out", { a: undefined, b: [undefined], c: 1 }],
  ["names like __proto__", JSON.parse('{"__proto__": 1, "constructor": {}}')],
])("%s is as JSON.stringify has it", (_, value) => {
  expect(jsonText(value)).toBe(oneText(value));
});

it("any JSON is", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(jsonText(value)).toBe(oneText(value));
    }),
  );
});

it("maps are objects, with names that are numbers first, as objects have them", () => {
  const entries: [string, unknown][] = [
    ["model.norm", "BF16"],
    ["10", 1],
    ["01", 2],
    ["2", 3],
    ["__proto__", 4],
  ];
  for (const each of [entries, entries.slice(0, 1), []])
    expect(jsonText(new Map(each))).toBe(oneText(Object.fromEntries(each)));
});

// An odd number of units before them: one of the cuts would fall between the halves.
it.each(["", "x"])("a long text is cut between characters", (before) => {
  const text = `${before}${"𝄞".repeat(30_000)}"\n${"é".repeat(20_000)}`;
  const pieces: string[] = [];
  jsonPieces({ text }, (piece) => pieces.push(piece));
  expect(pieces.length).toBeGreaterThan(4);
  expect(pieces.join("")).toBe(oneText({ text }));
  expect(jsonByteLength({ text })).toBe(Buffer.byteLength(oneText({ text })));
});

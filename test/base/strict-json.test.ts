import fc from "fast-check";
import { expect, it } from "vitest";
import {
  JsonDuplicateKeyError,
  JsonNumber,
  JsonSyntaxError,
  type JsonValue,
  parseStrictJson,
} from "../../src/base/strict-json.ts";

/** As JSON.parse gives it. */
function plain(value: JsonValue): unknown {
  if (value instanceof JsonNumber) return Number(value.text);
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, item]) => [key, plain(item)]));
  return Array.isArray(value) ? value.map(plain) : value;
}

it("reads what JSON.parse reads", () => {
  fc.assert(
    fc.property(fc.jsonValue({ stringUnit: "grapheme" }), fc.nat(3), (value, indent) => {
      const text = JSON.stringify(value, null, indent);
      expect(plain(parseStrictJson(text))).toEqual(JSON.parse(text));
    }),
  );
});

it("refuses what JSON.parse refuses, when a character of valid text is changed or dropped", () => {
  const accepts = (parse: () => unknown) => {
    try {
      parse();
      return true;
    } catch (error) {
      if (error instanceof SyntaxError || error instanceof JsonSyntaxError) return false;
      // Stops before it has seen the rest, which may be malformed as well.
      if (error instanceof JsonDuplicateKeyError) return fc.pre(false);
      throw error;
    }
  };
  const text = fc.jsonValue().map((value) => JSON.stringify(value));
  const put = fc.constantFrom("", " ", '"', "\\", "{", "]", ",", ":", "-", "0", "1", "e", ".", "n", "\t", "u");
  fc.assert(
    fc.property(text, fc.nat(), put, (before, at, character) => {
      const i = at % before.length;
      const after = before.slice(0, i) + character + before.slice(i + 1);
      fc.pre(!/\\ud[89a-f]|e[+-]?\d{3}/i.test(after)); // lone surrogates and 1e999, where we are stricter
      expect(
        accepts(() => parseStrictJson(after)),
        after,
      ).toBe(accepts(() => JSON.parse(after)));
    }),
    { numRuns: 2000 },
  );
});

it("keeps the text of numbers that are no safe integers", () => {
  for (const text of ["1.0", "-0", "1e2", "9007199254740992", "-1.5", "100000000000000000000"]) {
    expect(parseStrictJson(text)).toEqual(new JsonNumber(text));
  }
  for (const n of [0, -1, 9007199254740991]) expect(parseStrictJson(` ${n}\n`)).toBe(n);
});

it("names a duplicate key and the object that has it", () => {
  const parse = () => parseStrictJson('{"a":[{"b":{"c":1,"\\u0063":1}}]}');
  expect(parse).toThrow(JsonDuplicateKeyError);
  expect(parse).toThrow("a → b → c");
});

it("goes as deep as serde_json and no deeper", () => {
  const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
  expect(() => parseStrictJson(nested(127))).not.toThrow();
  expect(() => parseStrictJson(nested(128))).toThrow(JsonSyntaxError);
  expect(() => parseStrictJson("[".repeat(1e6))).toThrow(JsonSyntaxError);
});

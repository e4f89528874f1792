import { describe, expect, it } from "vitest";
import { isJsonObject, JsonReader, parseJson, shortened } from "../../src/base/json.ts";

const root = (value: unknown) =>
  new JsonReader(value, ({ place, expected, found }) => new Error(`${place}: no ${expected} but ${found}`));

describe("a reader", () => {
  const document = root({ name: "x", sizes: [1, 2], flags: { a: true }, nothing: null, kind: "dcp" });

  it("gives values as what they are", () => {
    expect(document.field("name").text()).toBe("x");
    expect(
      document
        .field("sizes")
        .list()
        .map((size) => size.size()),
    ).toEqual([1, 2]);
    expect(document.field("flags").map((flag) => flag.boolean())).toEqual(new Map([["a", true]]));
    expect(document.field("nothing").nullable((value) => value.text())).toBeNull();
    expect(document.field("name").nullable((value) => value.text())).toBe("x");
    expect(document.optional("absent")).toBeUndefined();
    expect(document.field("kind").oneOf(["dcp", "pt"], "format")).toBe("dcp");
  });

  it.each<readonly [string, () => unknown, string]>([
    ["a field that is missing", () => document.field("absent"), ': no object with "absent" but {"name":"x"'],
    ["a field of a list", () => document.field("sizes").field("a"), "sizes: no object but [1,2]"],
    ["a member of a list", () => document.field("sizes").list()[1]!.text(), "sizes.1: no string but 2"],
    ["a member of an object", () => document.field("flags").map((flag) => flag.size()), "flags.a: no size but true"],
    ["a list that is none", () => document.field("flags").list(), "flags: no list but"],
    ["an object that is null", () => document.field("nothing").map((each) => each), "nothing: no object but null"],
    ["a word of others", () => document.field("name").oneOf(["dcp"], "format"), 'name: no format but "x"'],
    ["what objects inherit", () => document.field("toString"), 'no object with "toString"'],
  ])("names the place of %s", (_, read, message) => {
    expect(read).toThrow(message);
  });

  it.each([-1, 1.5, 2 ** 53, "1", null])("takes %j for no size", (value) => {
    expect(() => root(value).size()).toThrow(`: no size but ${JSON.stringify(value)}`);
  });
});

it("an object is neither null nor a list", () => {
  expect([{}, [], null, "x"].map(isJsonObject)).toEqual([true, false, false, false]);
});

it("messages show the beginning of long values, and that there is none", () => {
  expect(shortened("a".repeat(200))).toHaveLength(81);
  expect(shortened(undefined)).toBe("nothing");
});

describe("text", () => {
  const nested = (depth: number) => `${"[".repeat(depth)}${"]".repeat(depth)}`;

  it.each([128, 60_000, 5_000_000])("nested %d deep is refused", (depth) => {
    expect(() => parseJson(nested(depth))).toThrow(
      new SyntaxError("its lists and objects are nested more than 127 deep"),
    );
    expect(() => parseJson('{"a":'.repeat(depth))).toThrow("nested more than 127 deep");
  });

  it.each([
    nested(127),
    `[${`${nested(100)},`.repeat(50)}1]`,
    JSON.stringify({ "[": `{[${"[".repeat(200)}`, b: '"[\\', c: "\\" }),
  ])("of lists beside each other, or of brackets in strings, is read", (text) => {
    expect(parseJson(text)).toEqual(JSON.parse(text));
  });

  it("that does not end is no JSON", () => {
    expect(() => parseJson('{"a')).toThrow(SyntaxError);
    expect(() => parseJson('"a\\')).toThrow(SyntaxError);
  });
});

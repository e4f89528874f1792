// Keys that one side has and the other has no place for.
import { describe, expect, test } from "vitest";
import { compileTable, type Source } from "../../src/table/plan.ts";
import { refuse, rename } from "../../src/table/rule.ts";
import { refusal } from "../adapters/refuse.ts";

const words = { reason: "is of the tower, which is not here", help: "--allow-drop 'tower.*'" };
const table = compileTable(
  [
    rename("a", "A", "d"),
    refuse("hf", "tower.{key}", words, "tower"),
    refuse("hf", "bridge.{key}", words, "tower"),
    refuse("native", "extra.{key}", { ...words, reason: "is extra" }),
  ],
  { d: 2 },
);
const headers = (...keys: readonly string[]): Source =>
  new Map(keys.map((key) => [key, { dtype: "F32" as const, shape: [2] }]));

describe("what is refused", () => {
  test("is named, with the reason, how many more there are, and the way out", () => {
    const run = () => table.plan("fromHf", headers("A", "tower.1.w", "other", "bridge.w"));
    expect(refusal(run)).toBe(
      'UNKNOWN_TENSOR: no rule for "tower.1.w": it is of the tower, which is not here; and 2 more: "other", "bridge.w"',
    );
    expect(run).toThrow(expect.objectContaining({ details: expect.objectContaining({ help: words.help }) }));
    expect(refusal(() => table.plan("toHf", headers("a", "extra.w")))).toContain("it is extra");
  });

  test("is so on its own side, and under its own name only", () => {
    expect(refusal(() => table.plan("toHf", headers("a", "tower.w")))).toBe('UNKNOWN_TENSOR: no rule for "tower.w"');
    expect(refusal(() => table.plan("fromHf", headers("A", "towers.w")))).toBe(
      'UNKNOWN_TENSOR: no rule for "towers.w"',
    );
    expect(refusal(() => table.plan("fromHf", headers("A", "tower.")))).toBe('UNKNOWN_TENSOR: no rule for "tower."');
  });

  test("does not hide that something else is missing", () => {
    expect(refusal(() => table.plan("fromHf", headers("tower.w")))).toContain('MISSING_TENSOR: "A"');
  });

  test("goes when the user lets it, and is listed with the reason", () => {
    const allowDrop = (key: string) => key.startsWith("tower.");
    const { dropped, moves } = table.plan("fromHf", headers("A", "tower.w"), { allowDrop });
    expect(dropped).toEqual([{ key: "tower.w", reason: `waived: it ${words.reason}` }]);
    expect(moves.map(({ key }) => key)).toEqual(["a"]);
    expect(refusal(() => table.plan("fromHf", headers("A", "tower.w", "bridge.w"), { allowDrop }))).toContain(
      "bridge.w",
    );
  });
});

test("a part that the HF side lacks is told of, once", () => {
  const absent = (keys: Source, direction: "fromHf" | "toHf") =>
    table.plan(direction, keys, { allowDrop: () => true }).absent;
  expect(absent(headers("A"), "fromHf")).toEqual(["tower"]);
  expect(absent(headers("A", "bridge.w"), "fromHf")).toEqual([]);
  expect(absent(headers("a"), "toHf")).toEqual(["tower"]);
});

test.each(["tower", "{key}.{key}", "tower.{l}.{key}"])("refuse %s is no table", (keys) => {
  expect(refusal(() => compileTable([refuse("hf", keys, words)], {}))).toContain("TABLE_INVALID");
});

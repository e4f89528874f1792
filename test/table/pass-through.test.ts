// What passes over an axis is there at every index, with one shape; what differs at one is named.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileTable, type Direction, type Source } from "../../src/table/plan.ts";
import { passThrough, rename } from "../../src/table/rule.ts";
import { refusal } from "../adapters/refuse.ts";
import { applyMove, type Bytes } from "../helpers/moves.ts";

const EXPERTS = { keys: /\.experts\./, reason: "is an expert", help: "load an adapter" };
const rules = [
  rename("model.norm", "norm", "d"),
  passThrough("model.layers.{l}.{key}", "layers.{l}.{key}", [EXPERTS]),
  passThrough("model.{key}", "{key}"),
];
const tableOf = (layers: number) => compileTable(rules, { l: layers, d: 4 });

type Shapes = Readonly<Record<string, readonly number[]>>;

const headers = (shapes: Shapes): Source =>
  new Map(Object.entries(shapes).map(([key, shape]) => [key, { dtype: "F32" as const, shape }]));

/** Norm, `rest` outside the layers, and each kind at each of the layers. */
const modelOf = (layers: number, kinds: Shapes, before = ""): Record<string, readonly number[]> => ({
  [`${before}norm`]: [4],
  [`${before}rest.bias`]: [7],
  ...Object.fromEntries(
    Object.entries(kinds).flatMap(([kind, shape]) =>
      Array.from({ length: layers }, (_, l) => [`${before}layers.${l}.${kind}`, shape]),
    ),
  ),
});

const kinds = fc.dictionary(
  fc.stringMatching(/^[a-z]{1,3}(\.\d{1,2})?\.(weight|bias)$/),
  fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 3 }),
  { minKeys: 1, maxKeys: 4 },
);
const layers = fc.integer({ min: 3, max: 12 });

test("what passes keeps shape and bytes, there and back", () => {
  fc.assert(
    fc.property(layers, kinds, (count, shapes) => {
      const hf = modelOf(count, shapes);
      const table = tableOf(count);
      const payload = (key: string): Bytes => {
        const shape = hf[key]!;
        const bytes = 4 * shape.reduce((product, size) => product * size, 1);
        return { shape, data: Uint8Array.from({ length: bytes }, (_, i) => (i * 31 + key.length * 7) % 251) };
      };
      const carry = (direction: Direction, source: Source, read: (key: string) => Bytes) =>
        new Map(
          table
            .plan(direction, source)
            .moves.map((move) => [
              move.key,
              move.pieces.length === 0 ? { shape: move.shape, data: new Uint8Array() } : applyMove(move, read),
            ]),
        );
      const native = carry("fromHf", headers(hf), payload);
      expect([...native.keys()].toSorted()).toEqual(Object.keys(modelOf(count, shapes, "model.")).toSorted());
      const back = carry(
        "toHf",
        headers(Object.fromEntries([...native].map(([key, { shape }]) => [key, shape]))),
        (key) => native.get(key)!,
      );
      expect(back.size).toBe(Object.keys(hf).length);
      for (const [key, found] of back) expect(found).toEqual(payload(key));
    }),
    { numRuns: 60 },
  );
});

test("a tensor removed, added or misshapen at one index is named", () => {
  fc.assert(
    fc.property(layers, kinds, fc.nat(), fc.nat(), (count, shapes, someLayer, someKind) => {
      const hf = modelOf(count, shapes);
      const names = Object.keys(shapes);
      const key = `layers.${someLayer % count}.${names[someKind % names.length]}`;
      const plan = (edit: Shapes, without = "") =>
        refusal(() => {
          const { [without]: _, ...rest } = { ...hf, ...edit };
          return tableOf(count).plan("fromHf", headers(rest));
        });
      expect(plan({}, key)).toContain(`MISSING_TENSOR: "${key}" is missing`);
      expect(plan({ [`${key}s`]: [2] })).toContain(`UNKNOWN_TENSOR: no rule for "${key}s"`);
      expect(plan({ [`${key}s`]: hf[key]! }, key)).toContain(`MISSING_TENSOR: "${key}" is missing`);
      expect(plan({ [key]: [...hf[key]!, 2] })).toContain(`SHAPE_MISMATCH: "${key}": expected`);
      expect(plan({ [`layers.${count}.w`]: [2] })).toContain(`UNKNOWN_TENSOR: no rule for "layers.${count}.w"`);
    }),
    { numRuns: 40 },
  );
});

describe("between two layers", () => {
  const table = tableOf(2);
  const w: Shapes = { norm: [4], "layers.0.w": [2], "layers.1.w": [2] };

  test("what one has, the other lacks", () => {
    expect(refusal(() => table.plan("fromHf", headers({ ...w, "layers.0.v": [2] })))).toContain(
      '"layers.1.v" is missing',
    );
  });

  test("the first is right about the shape", () => {
    expect(refusal(() => table.plan("fromHf", headers({ ...w, "layers.1.w": [3] })))).toContain(
      '"layers.1.w": expected [2]',
    );
  });
});

test("an exception is taken by no pattern, and says why; the user may let it go", () => {
  const model = headers({ ...modelOf(2, { w: [2] }), "layers.0.experts.w": [2], "layers.1.experts.w": [2] });
  const table = tableOf(2);
  expect(refusal(() => table.plan("fromHf", model))).toBe(
    'UNKNOWN_TENSOR: no rule for "layers.0.experts.w": it is an expert; and 1 more: "layers.1.experts.w"',
  );
  const { moves, dropped } = table.plan("fromHf", model, { allowDrop: (key) => key.includes("experts") });
  expect(dropped.map(({ key }) => key)).toEqual(["layers.0.experts.w", "layers.1.experts.w"]);
  expect(moves.map(({ key }) => key)).toEqual([
    "model.norm",
    "model.layers.0.w",
    "model.layers.1.w",
    "model.rest.bias",
  ]);
});

test("what is required has to be at every index, though it be at none or few", () => {
  const table = compileTable([passThrough("model.{l}.{key}", "{l}.{key}", [], ["w", "v"])], { l: 5 });
  const all = Object.fromEntries(
    [0, 1, 2, 3, 4].flatMap((l) => [
      [`${l}.w`, [2]],
      [`${l}.v`, [3]],
    ]),
  );
  expect(table.plan("fromHf", headers(all)).moves).toHaveLength(10);
  const { "0.v": _, "2.v": __, "3.v": ___, ...few } = all;
  expect(refusal(() => table.plan("fromHf", headers(few)))).toContain('"0.v" is missing: expected [3]');
  const none = Object.fromEntries(Object.entries(all).filter(([key]) => key.endsWith("w")));
  expect(refusal(() => table.plan("fromHf", headers(none)))).toBe(
    'MISSING_TENSOR: "0.v" is missing: expected it at every index; and 4 more: "1.v", "2.v", "3.v", …',
  );
});

test("a table lists what passes where it is shown the headers", () => {
  const keysOf = (source?: Source) =>
    tableOf(2)
      .tensors("hf", source)
      .map(({ key }) => key);
  expect(keysOf()).toEqual(["norm"]);
  expect(keysOf(headers(modelOf(2, { w: [2] })))).toEqual(["norm", "layers.0.w", "layers.1.w"]);
});

test.each([
  [() => passThrough("a.{l}.{key}", "b.{key}"), 'passThrough "a.{l}.{key}": "b.{key}" has another axis'],
  [() => passThrough("a.{l}.{m}.{key}", "b.{l}.{m}.{key}"), 'passThrough "a.{l}.{m}.{key}": it may hold one axis'],
])("patterns that cannot be are refused", (rule, message) => {
  expect(refusal(() => compileTable([rule()], { l: 2, m: 2 }))).toContain(`TABLE_INVALID: ${message}`);
});

test("the axis needs a size", () => {
  const table = compileTable([passThrough("a.{l}.{key}", "b.{l}.{key}")], {});
  expect(refusal(() => table.plan("toHf", headers({ "a.0.w": [1] })))).toBe('TABLE_INVALID: axis "l" has no size');
});

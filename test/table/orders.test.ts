// Tensors that writers store in several orders of dims, and parts of a model that files lack as a whole.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Move } from "../../src/table/move.ts";
import { compileTable, type Direction, type PlanOptions } from "../../src/table/plan.ts";
import * as rules from "../../src/table/rule.ts";
import { refusal } from "../adapters/refuse.ts";
import { applyMove, type Bytes } from "../helpers/moves.ts";
import { referencePair, type SideSpec } from "./reference.ts";

const { map, rename, tower } = rules;

const native = { "w1.{l}": "gate: e f d", "w3.{l}": "up: e f d", "w2.{l}": "e d f" };
const usual = { "up.{l}": "e d (gate: f | up: f)", "down.{l}": "e f d" };
const turned = { "up.{l}": "e (gate: f | up: f) d", "down.{l}": "e d f" };
const experts = [
  map(
    "gateUp",
    { "w1.{l}": native["w1.{l}"], "w3.{l}": native["w3.{l}"] },
    { "up.{l}": { dims: usual["up.{l}"], orders: { turned: turned["up.{l}"] } } },
  ),
  map(
    "down",
    { "w2.{l}": native["w2.{l}"] },
    { "down.{l}": { dims: usual["down.{l}"], orders: { turned: turned["down.{l}"] } } },
  ),
];

type Tensors = ReadonlyMap<string, Bytes>;
type Sizes = Readonly<Record<"l" | "e" | "f" | "d", number>>;

function converted(sizes: Sizes, direction: Direction, tensors: Tensors, options?: PlanOptions) {
  const source = new Map([...tensors].map(([key, { shape }]) => [key, { dtype: "F32" as const, shape }]));
  const plan = compileTable(experts, sizes).plan(direction, source, options);
  const of = (move: Move) => [move.key, applyMove(move, (key) => tensors.get(key)!)] as const;
  return { order: plan.order, tensors: new Map(plan.moves.map(of)) };
}

/** Native and HF tensors of the reference, whose dims are given for HF. */
function pairs(sizes: Sizes, hf: SideSpec): { native: Tensors; hf: Tensors } {
  const gateUp = referencePair(
    { "w1.{l}": native["w1.{l}"], "w3.{l}": native["w3.{l}"] },
    { "up.{l}": hf["up.{l}"]! },
    sizes,
  );
  const down = referencePair({ "w2.{l}": native["w2.{l}"] }, { "down.{l}": hf["down.{l}"]! }, sizes);
  return {
    native: new Map([...gateUp.source, ...down.source]),
    hf: new Map([...gateUp.target, ...down.target]),
  };
}

const size = fc.integer({ min: 1, max: 4 });
const anySizes = fc.record({ l: size, e: size, f: size, d: size });

describe.each([
  ["the usual order", usual, null],
  ["another order", turned, "turned"],
] as const)("%s", (_, dims, order) => {
  test("is found by the shapes, whatever the sizes, and comes back", () => {
    fc.assert(
      fc.property(anySizes, (sizes) => {
        const pair = pairs(sizes, dims);
        const there = converted(sizes, "fromHf", pair.hf);
        expect(there).toEqual({ order, tensors: pair.native });
        const options = order === null ? {} : { order };
        expect(converted(sizes, "toHf", there.tensors, options)).toEqual({ order: null, tensors: pair.hf });
      }),
    );
  });
});

const header = (shapes: Readonly<Record<string, readonly number[]>>) =>
  new Map(Object.entries(shapes).map(([key, shape]) => [key, { dtype: "F32" as const, shape }]));

describe("orders", () => {
  const table = compileTable(experts, { l: 2, e: 2, f: 3, d: 8 });
  test("one holds for the whole checkpoint: the odd tensor is named", () => {
    const shapes = { "up.0": [2, 6, 8], "up.1": [2, 6, 8], "down.0": [2, 8, 3], "down.1": [2, 3, 8] };
    expect(refusal(() => table.plan("fromHf", header(shapes)))).toBe(
      'SHAPE_MISMATCH: "down.1": expected [2,8,3] = [e, d, f], got [2,3,8]',
    );
  });

  test("where no tensor tells, the checkpoint is refused", () => {
    const [up] = experts;
    const one = compileTable([up!], { l: 1, e: 2, f: 4, d: 8 });
    expect(refusal(() => one.plan("fromHf", header({ "up.0": [2, 8, 8] })))).toContain(
      'AMBIGUOUS_ORDER: "up.0": its shape [2,8,8]',
    );
  });

  test("one that no tensor declares cannot be asked for", () => {
    const shapes = { "w1.0": [2, 3, 8], "w1.1": [2, 3, 8], "w3.0": [2, 3, 8], "w3.1": [2, 3, 8] };
    const all = header({ ...shapes, "w2.0": [2, 8, 3], "w2.1": [2, 8, 3] });
    expect(refusal(() => table.plan("toHf", all, { order: "sideways" }))).toContain("UNKNOWN_ORDER: no tensor");
  });

  test("dims of other axes are no order", () => {
    const wrong = map("m", { a: "e d" }, { b: { dims: "d e", orders: { turned: "e f" } } });
    expect(refusal(() => compileTable([wrong], { e: 2, f: 3, d: 8 }))).toContain(
      "dims as turned have other parts or axes",
    );
  });
});

describe("a tower", () => {
  const table = compileTable(
    [
      rename("norm", "model.norm", "d"),
      ...tower("eye", [rename("eye.{l}", "model.eye.{l}", "d"), rename("lid", "model.lid", "d")]),
    ],
    { l: 2, d: 8 },
  );
  const plan = (keys: readonly string[]) =>
    refusal(() => table.plan("fromHf", header(Object.fromEntries(keys.map((key) => [key, [8]])))));

  test("that is absent as a whole is reported as such", () => {
    expect(plan(["model.norm"])).toBe('MISSING_TOWER: the eye is absent as a whole: 3 tensors, from "model.eye.0" on');
    expect(plan([])).toContain("; and 1 tensors of the rest are missing");
  });

  test("of which something is there lacks tensors", () => {
    expect(plan(["model.norm", "model.lid"])).toContain('MISSING_TENSOR: "model.eye.0" is missing');
    expect(plan(["model.norm", "model.lid", "model.eye.0"])).toContain('MISSING_TENSOR: "model.eye.1" is missing');
  });
});

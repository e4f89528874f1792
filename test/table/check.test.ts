// Everything that is wrong with a source, as values: a plan throws the first of them, or goes around them.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Dtype } from "../../src/base/dtype.ts";
import { InputError } from "../../src/base/errors.ts";
import type { TableFault } from "../../src/table/faults/fault.ts";
import { errorOf, missingHelp } from "../../src/table/faults/problems.ts";
import { compileTable, type PlanOptions, type SourceTensor } from "../../src/table/plan.ts";
import {
  alsoSpelled,
  concat,
  drop,
  map,
  optional,
  passThrough,
  refuse,
  rename,
  stackExperts,
  tie,
  tower,
} from "../../src/table/rule.ts";

const table = compileTable(
  [
    rename("embed", "model.embed", "v d"),
    concat({ gate: "l.{l}.gate", up: "l.{l}.up" }, "m.{l}.gate_up", "(gate: f | up: f) d"),
    stackExperts("l.{l}.w", "m.{l}.e.{e}.w", "e f d"),
    alsoSpelled("native", ["l.{l}.n"], rename("l.{l}.norm", "m.{l}.norm", "d")),
    optional(rename("extra", "model.extra", "d")),
    ...tower("vision tower", [rename("v.{l}.a", "visual.{l}.a", "d"), rename("v.{l}.b", "visual.{l}.b", "f")]),
    ...tower("audio tower", [rename("s.{l}.a", "audio.{l}.a", "d")]),
    tie("native", "head", "embed", "tied", false),
    drop("native", "l.{l}.bias", "load balancing", { dims: "e", recreate: 0 }),
    passThrough("free.{key}", "{key}"),
    refuse("native", "mtp.{key}", { reason: "belongs to the drafts", help: "leave them out" }),
  ],
  { l: 2, v: 5, d: 4, f: 3, e: 2 },
);

type Tensors = Map<string, SourceTensor>;

/** All that the native side can have. */
const whole = (): Tensors =>
  new Map(
    table
      .tensors("native")
      .map(({ key, shape }) => [key, { dtype: "F32" as Dtype, shape: shape.map((size) => size ?? 1) }]),
  );

function changed(edit: (tensors: Tensors) => void): Tensors {
  const tensors = whole();
  edit(tensors);
  return tensors;
}

const check = (edit: (tensors: Tensors) => void, options?: PlanOptions) =>
  table.check("toHf", changed(edit), options).map(({ help, ...fault }) => ({ ...fault, help: help() }));

const said = (faults: readonly TableFault[]) => faults.map(({ code, key }) => `${code} ${key}`);

const reshape = (tensors: Tensors, key: string, shape: readonly number[]) =>
  tensors.set(key, { ...tensors.get(key)!, shape });
const recast = (tensors: Tensors, key: string, dtype: Dtype) => tensors.set(key, { ...tensors.get(key)!, dtype });
const add = (tensors: Tensors, key: string) => tensors.set(key, { dtype: "F32", shape: [4] });

test("nothing is wrong with what the table describes", () => {
  expect(check(() => {})).toEqual([]);
  expect(check((tensors) => tensors.delete("extra"))).toEqual([]);
});

describe("each kind says which tensor, what was expected, what was found and the way out", () => {
  test.each<[string, (tensors: Tensors) => void, object]>([
    [
      "missing",
      (tensors) => tensors.delete("l.1.norm"),
      {
        code: "MISSING_TENSOR",
        key: "l.1.norm",
        expected: "[4] = [d]",
        found: "no such tensor",
        spellings: ["l.1.n"],
        shape: [4],
        help: "the checkpoint is incomplete, or its config describes another model",
      },
    ],
    [
      "missing of a part that is there",
      (tensors) => tensors.delete("v.0.b"),
      {
        code: "MISSING_TENSOR",
        key: "v.0.b",
        expected: "[3] = [f]",
        found: "no such tensor",
        spellings: [],
        shape: [3],
        tower: "vision tower",
        help: "the checkpoint is incomplete, or its config describes another model",
      },
    ],
    [
      "a part that is missing",
      (tensors) => tensors.delete("s.0.a") && tensors.delete("s.1.a"),
      {
        code: "MISSING_TOWER",
        key: "s.0.a",
        expected: "the audio tower, as the config describes it",
        found: "no tensor of it",
        tower: "audio tower",
        missing: ["s.0.a", "s.1.a"],
        help: expect.stringContaining("export of the rest of the model"),
      },
    ],
    [
      "unknown",
      (tensors) => add(tensors, "l.0.nrom"),
      {
        code: "UNKNOWN_TENSOR",
        key: "l.0.nrom",
        expected: "tensors that the family's table knows",
        found: "l.0.nrom",
        help: expect.stringContaining('the nearest known key is "l.0.norm"'),
      },
    ],
    [
      "of integers",
      (tensors) => recast(tensors, "l.1.norm", "I8"),
      {
        code: "WEIGHT_NOT_FLOAT",
        key: "l.1.norm",
        expected: "F64, F32, F16 or BF16",
        found: "I8",
        help: expect.stringContaining("--to raw"),
      },
    ],
    [
      "refused",
      (tensors) => add(tensors, "mtp.0.w"),
      {
        code: "UNKNOWN_TENSOR",
        key: "mtp.0.w",
        expected: "tensors that both sides have a place for",
        found: "mtp.0.w",
        reason: "belongs to the drafts",
        help: "leave them out",
      },
    ],
    [
      "misshapen",
      (tensors) => reshape(tensors, "l.0.w", [2, 4, 3]),
      {
        code: "SHAPE_MISMATCH",
        key: "l.0.w",
        expected: "[2,3,4]",
        words: "[e, f, d]",
        found: "[2,4,3]",
        help: expect.stringContaining("--config"),
      },
    ],
    [
      "misshapen, of a tie",
      (tensors) => reshape(tensors, "head", [5]),
      {
        code: "SHAPE_MISMATCH",
        key: "head",
        expected: "[5,4]",
        words: "[v, d]",
        found: "[5]",
        help: expect.stringContaining("--config"),
      },
    ],
    [
      "two spellings",
      (tensors) => add(tensors, "l.0.n"),
      { code: "TWO_SPELLINGS", key: "l.0.n", other: "l.0.norm", help: expect.stringContaining("leave one") },
    ],
    [
      "two types",
      (tensors) => recast(tensors, "l.1.up", "BF16"),
      {
        code: "MIXED_DTYPES",
        key: "l.1.up",
        target: "m.1.gate_up",
        other: "l.1.gate",
        expected: "F32",
        found: "BF16",
        help: expect.stringContaining("--dtype 'm.1.gate_up=f32'"),
      },
    ],
    [
      "two tensors of one key",
      (tensors) => add(tensors, "free.model.embed"),
      {
        code: "KEY_COLLISION",
        key: "model.embed",
        sources: ["embed", "free.model.embed"],
        help: expect.stringContaining("rename one"),
      },
    ],
  ])("%s", (_, edit, fault) => {
    expect(check(edit)).toEqual([fault]);
  });
});

test("all at once, in the order of their weight, those of one kind as the table or the source has them", () => {
  const faults = table.check(
    "toHf",
    changed((tensors) => {
      for (const key of ["l.1.w", "embed", "head", "s.0.a", "s.1.a", "v.0.b"]) tensors.delete(key);
      for (const key of ["who", "mtp.1", "mtp.0", "l.1.n", "free.m.0.norm"]) add(tensors, key);
      reshape(tensors, "l.1.gate", [3]);
      reshape(tensors, "l.0.bias", [9]);
      recast(tensors, "l.0.up", "F16");
    }),
  );
  expect(said(faults)).toEqual([
    "TWO_SPELLINGS l.1.n",
    "MISSING_TOWER s.0.a",
    "MISSING_TENSOR embed",
    "MISSING_TENSOR l.1.w",
    "MISSING_TENSOR v.0.b",
    // A rule has more to say of it than of the one before.
    "UNKNOWN_TENSOR mtp.1",
    "UNKNOWN_TENSOR who",
    "UNKNOWN_TENSOR mtp.0",
    "SHAPE_MISMATCH l.1.gate",
    "SHAPE_MISMATCH l.0.bias",
    "MIXED_DTYPES l.0.up",
    "KEY_COLLISION m.0.norm",
  ]);
  const errors = faults.map((fault) => errorOf(fault, faults).message);
  expect(errors[1]).toBe(
    'the audio tower is absent as a whole: 2 tensors, from "s.0.a" on; and 3 tensors of the rest are missing',
  );
  expect(errors[2]).toBe('"embed" is missing: expected [5,4] = [v, d]; and 2 more: "l.1.w", "v.0.b"');
  expect(errors[5]).toBe('no rule for "mtp.1": it belongs to the drafts; and 2 more: "who", "mtp.0"');
  expect(errors[6]).toBe('no rule for "who"; and 2 more: "mtp.1", "mtp.0"');
});

test("a head of another task in place of the language model's is told as such, with what writes it", () => {
  const help = missingHelp("lm_head.weight", ["model.extra", "score.weight"]);
  expect(help).toContain('"score.weight" in place of that head');
  expect(help).toContain("--to raw");
  expect(missingHelp("model.norm.weight", ["score.weight"])).not.toContain("--to raw");
  expect(missingHelp("lm_head.weight", ["scores.weight"])).not.toContain("--to raw");
});

test("what the user settles is no fault", () => {
  expect(check((tensors) => add(tensors, "who"), { allowDrop: (key) => key === "who" })).toEqual([]);
  expect(check((tensors) => recast(tensors, "l.1.up", "BF16"), { mixedDtypes: true })).toEqual([]);
});

/** Damage of every kind, several times over. */
const damages = fc.array(
  fc.tuple(
    fc.constantFrom("delete", "shape", "dtype", "add", "spell"),
    fc.nat({ max: 40 }),
    fc.constantFrom("who.0", "who.1", "mtp.x", "free.a", "free.model.embed", "l.0.n", "l.1.n"),
  ),
  { maxLength: 12 },
);

function damaged(damage: readonly (readonly [string, number, string])[]): Tensors {
  return changed((tensors) => {
    for (const [kind, at, name] of damage) {
      const keys = [...tensors.keys()];
      const key = keys[at % keys.length]!;
      if (kind === "delete") tensors.delete(key);
      else if (kind === "shape") reshape(tensors, key, [...tensors.get(key)!.shape, 1]);
      else if (kind === "dtype") recast(tensors, key, "BF16");
      else add(tensors, name);
    }
  });
}

function errorIn(run: () => unknown): InputError | null {
  try {
    run();
    return null;
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
}

const told = (error: InputError | null) => error && { code: error.code, message: error.message, ...error.details };

test("a plan throws the first fault, and none where there is none", () => {
  fc.assert(
    fc.property(damages, (damage) => {
      const tensors = damaged(damage);
      const faults = table.check("toHf", tensors);
      const [first] = faults;
      const error = errorIn(() => table.plan("toHf", tensors));
      expect(told(error)).toEqual(first === undefined ? null : told(errorOf(first, faults)));
    }),
  );
});

test("a plan that tolerates faults has every tensor of the target, and lists them; some it cannot tolerate", () => {
  const all = table.plan("toHf", whole()).moves.map(({ key }) => key);
  const hard = new Set(["MIXED_DTYPES", "KEY_COLLISION", "AMBIGUOUS_ORDER"]);
  fc.assert(
    fc.property(damages, (damage) => {
      const tensors = damaged(damage);
      const faults = table.check("toHf", tensors);
      const first = faults.find(({ code }) => hard.has(code));
      if (first !== undefined) {
        const error = errorIn(() => table.plan("toHf", tensors, { tolerate: true }));
        expect(told(error)).toEqual(told(errorOf(first, faults)));
        return;
      }
      const plan = table.plan("toHf", tensors, { tolerate: true });
      expect(said(plan.faults)).toEqual(said(faults));
      // What is optional, and what passes through, is there where the source has it.
      const isDue = (key: string) => key !== "model.extra" && key !== "a";
      expect(plan.moves.map(({ key }) => key).filter(isDue)).toEqual(all.filter(isDue));
      const lacking = faults.flatMap((fault) => ("missing" in fault ? fault.missing : [fault.key]));
      const absent = plan.moves.flatMap(({ pieces }) =>
        pieces.map(({ source }) => source).filter((key) => !tensors.has(key)),
      );
      expect(absent.filter((key) => !lacking.includes(key))).toEqual([]);
    }),
  );
});

test("a shape that fits two orders of dims is a fault, and the first", () => {
  const two = compileTable(
    [map("w", { w: "a b" }, { w: { dims: "a b", orders: { turned: "b a" } } }), rename("n", "n", "a")],
    { a: 4, b: 4 },
  );
  const source: Tensors = new Map([["w", { dtype: "F32", shape: [4, 4] }]]);
  expect(said(two.check("fromHf", source))).toEqual(["AMBIGUOUS_ORDER w", "MISSING_TENSOR n"]);
  expect(told(errorIn(() => two.plan("fromHf", source, { tolerate: true })))).toMatchObject({
    code: "AMBIGUOUS_ORDER",
  });
});

test("integers stand where a rule drops them, and pass through, but for what torch's modules call their weights", () => {
  const integers = (tensors: Tensors, key: string) => tensors.set(key, { dtype: "I64", shape: [2] });
  expect(check((tensors) => integers(tensors, "l.0.bias"))).toEqual([]);
  expect(check((tensors) => integers(tensors, "free.position_ids"))).toEqual([]);
  expect(
    said(
      table.check(
        "toHf",
        changed((tensors) => integers(tensors, "free.w.weight")),
      ),
    ),
  ).toEqual(["WEIGHT_NOT_FLOAT free.w.weight"]);
  expect(
    said(
      table.check(
        "toHf",
        changed((tensors) => recast(tensors, "head", "F8_E5M2")),
      ),
    ),
  ).toEqual(["WEIGHT_NOT_FLOAT head"]);
});

// Rule sets that are no bijection are refused when they are compiled, before any checkpoint is looked at.
import { describe, expect, test } from "vitest";
import { InputError } from "../../src/base/errors.ts";
import type { Axes } from "../../src/table/dims/axes.ts";
import { compileTable } from "../../src/table/plan.ts";
import * as rules from "../../src/table/rule.ts";

const { concat, drop, map, optional, passThrough, permuteRope, rename, reorder, split, stackExperts, tie } = rules;
const axes: Axes = { l: 2, a: 2, b: 3, e: 2, moe: [1, 3] };

const refused: Record<string, [readonly (() => rules.Rule)[], string, Axes?]> = {
  "a native key claimed twice": [
    [() => rename("x", "y", "a"), () => rename("x", "z", "a")],
    'native key "x" is claimed by two rules: rename "x" and rename "x"',
  ],
  "an HF key claimed twice": [
    [() => rename("x", "y", "a"), () => rename("z", "y", "a")],
    'hf key "y" is claimed by two rules: rename "y" and rename "y"',
  ],
  "a key claimed at one index": [
    [() => rename("x.{l}", "y.{l}", "a"), () => rename("z", "y.1", "a")],
    'hf key "y.1" is claimed by two rules',
  ],
  "an offset that runs into other layers": [
    [() => rename("x.{l}", "y.{l}", "a"), () => rename("mtp.{e}", "y.{e+1}", "a")],
    'hf key "y.1" is claimed by two rules',
  ],
  "a spelling that is another key": [
    [() => rename("x", "y", "a"), () => rules.alsoSpelled("native", ["x"], rename("z", "w", "a"))],
    'native key "x" is claimed by two rules',
  ],
  "a drop of what is mapped": [
    [() => rename("x", "y", "a"), () => drop("hf", "y", "not needed", { dims: "a" })],
    'hf key "y" is claimed by two rules: rename "y" and drop "y"',
  ],
  "an axis without a size": [[() => rename("x", "y", "a q")], 'axis "q" has no size'],
  "a key axis without a size": [[() => rename("x.{q}", "y.{q}", "a")], 'axis "q" has no size'],
  "an axis on one side only": [[() => reorder("x", "y", "a b", "a")], 'reorder "x": axes differ: native [a b], HF [a]'],
  "an axis twice": [[() => rename("x", "y", "a a")], 'axis "a" comes twice in [a, a]'],
  "an axis in key and dims": [
    [() => rename("x.{l}", "y.{l}", "l a")],
    'rename "x.{l}": axis "l" is in the key and in the dims',
  ],
  "a key axis twice": [
    [() => map("m", { "x.{l}.{l}": "a" }, { "y.{l}": "a" })],
    'key "x.{l}.{l}": an axis comes twice',
  ],
  "a part on one side only": [
    [() => map("m", { x: "(q: a | k: b)" }, { "y.q": "q: a" })],
    'm "x": parts differ: native [q, k], HF [q]',
  ],
  "a part twice": [
    [() => map("m", { x: "(q: a | q: b)" }, { y: "q: a", z: "q: b" })],
    'm "x": part "q" comes twice on the native side',
  ],
  "two whole tensors on one side": [
    [() => map("m", { x: "a", z: "a" }, { y: "a" })],
    'm "z": the whole tensor comes twice on the native side',
  ],
  "axes of a part that differ": [
    [() => map("m", { x: "(q: a | k: b)" }, { y: "q: b", z: "k: b" })],
    'm "x": axes of part "q" differ: native [a], HF [b]',
  ],
  "an unlabelled tensor against parts": [
    [() => map("m", { x: "(q: a | k: b)" }, { y: "a", z: "k: b" })],
    "parts differ: native [q, k], HF [unlabelled, k]",
  ],
  "dims of an encoding with other axes": [
    [() => map("m", { x: { dims: "a b", encoded: { mxfp4: "a" } } }, { y: "a b" })],
    'm "x": dims as mxfp4 have other parts or axes',
  ],
  "a spelling with other axes": [
    [() => rules.alsoSpelled("hf", ["w"], rename("x.{l}", "y.{l}", "a"))],
    '"w" is no spelling of "y.{l}": it has other axes',
  ],
  "a tie to nothing": [
    [() => tie("hf", "head", "embed", "tied", false)],
    'tie "head": no rule maps "embed", which it should equal',
  ],
  "a tie with a stray axis": [
    [() => rename("x.{l}", "y.{l}", "a"), () => tie("hf", "head", "y.{l}", "tied", false)],
    'tie "head": axis "l" of "y.{l}" is not in the alias',
  ],
  "a re-created tensor of unknown size": [
    [() => drop("native", "cache", "derived", { dims: "? a", recreate: 0 })],
    'drop "cache": a tensor of unknown size cannot be re-created',
  ],
  "a pass-through without its key": [
    [() => passThrough("{key}", "model")],
    'passThrough "model": "{key}" must come once',
  ],
  "an unclosed parenthesis": [[() => rename("x", "y", "(a b")], 'dims "(a b": ")" is missing'],
  "a stray bar": [[() => rename("x", "y", "a | b")], 'dims "a | b": unexpected "|"'],
  "a part without a colon": [
    [() => rename("x", "y", "(q a | k: b)")],
    'dims "(q a | k: b)": ")" is missing, or a part has axes but no colon',
  ],
  "a part without a label": [[() => rename("x", "y", "((a) | k: b)")], 'a part needs a label, found "("'],
  "no axes": [[() => rename("x", "y", " ")], 'dims " ": no axes; a scalar is written "."'],
  "an unclosed brace": [[() => rename("x.{l", "y", "a")], 'key "x.{l": a brace does not enclose an axis'],
  "a negative index": [[() => rename("x.{l-1}", "y.{l}", "a")], 'key "x.{l-1}": index -1 of axis "l" is negative'],
  "a size that is none": [[() => rename("x", "y", "a")], 'axis "a": 1.5 is no size and no list of indices', { a: 1.5 }],
  "an index twice": [[() => rename("x.{a}", "y.{a}", ".")], 'axis "a": an index comes twice', { a: [1, 1] }],
  "RoPE without pairs": [[() => permuteRope("x", "y", "(a b)")], 'RoPE pairs are written "h two"'],
  "a part that the fused tensor lacks": [
    [() => concat({ v: "x" }, "y", "(q: a | k: b)")],
    'dims "(q: a | k: b)" have no part "v"',
  ],
  "a part that is not split off": [
    [() => split("x", { q: "y" }, "(q: a | k: b)")],
    'split "x": parts differ: native [q, k], HF [q]',
  ],
};

describe.each(Object.entries(refused))("%s", (_, [make, message, sizes = axes]) => {
  test("is refused", () => {
    const compile = () =>
      compileTable(
        make.map((rule) => rule()),
        sizes,
      );
    expect(compile).toThrow(InputError);
    expect(compile).toThrow(message);
    expect(compile).toThrow(expect.objectContaining({ code: "TABLE_INVALID" }));
  });
});

test("keys of one rule must have the same axes, says the compiler", () => {
  // @ts-expect-error {l} is on one side only
  expect(() => compileTable([rename("x.{l}", "y", "a")], axes)).toThrow("axes differ");
  // @ts-expect-error {l} is lost on the HF side
  expect(() => compileTable([stackExperts("x.{l}", "y.{e}", "e a")], axes)).toThrow("axes differ");
});

test("a table lists what a side can have, in the order of a module tree", () => {
  const table = compileTable(
    [
      rename("embed", "model.embed", "b a"),
      rename("layers.{l}.norm", "model.layers.{l}.norm", "a"),
      rules.onRanks({ cut: 0 }, stackExperts("layers.{l}.w", "model.layers.{l}.experts.{e}.w", "e b a")),
      optional(rename("layers.{l}.bias", "model.layers.{l}.bias", "a")),
      rename("head", "head", "b a"),
      tie("native", "alias", "embed", "tied", true),
      drop("native", "cache", "derived", { dims: "? a" }),
    ],
    axes,
  );
  expect(table.tensors("native").map(({ key, shape, need }) => [key, shape, need])).toEqual([
    ["embed", [3, 2], "required"],
    ["layers.0.norm", [2], "required"],
    ["layers.0.w", [2, 3, 2], "required"],
    ["layers.0.bias", [2], "optional"],
    ["layers.1.norm", [2], "required"],
    ["layers.1.w", [2, 3, 2], "required"],
    ["layers.1.bias", [2], "optional"],
    ["head", [3, 2], "required"],
    ["alias", [3, 2], "alias"],
    ["cache", [null, 2], "dropped"],
  ]);
  expect(table.tensors("native")[2]!.ranks).toEqual({ cut: 0 });
  expect(
    table
      .tensors("hf")
      .map(({ key }) => key)
      .slice(1, 5),
  ).toEqual(["model.layers.0.norm", "model.layers.0.experts.0.w", "model.layers.0.experts.1.w", "model.layers.0.bias"]);
});

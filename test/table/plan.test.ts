// What a compiled table makes of the tensors at hand: everything amiss is named, everything else has its place.
import { describe, expect, test } from "vitest";
import type { Dtype } from "../../src/base/dtype.ts";
import { InputError } from "../../src/base/errors.ts";
import { compileTable, type Direction, type PlanOptions } from "../../src/table/plan.ts";
import * as rules from "../../src/table/rule.ts";

const { alsoSpelled, concat, drop, map, optional, optionalPrefix, passThrough, rename, tie } = rules;
const axes = { l: 2, d: 8, f: 3, e: 2 };

type Shapes = Readonly<Record<string, readonly number[]>>;

const tensors = (shapes: Shapes, dtypes: Readonly<Record<string, Dtype>> = {}) =>
  new Map(Object.entries(shapes).map(([key, shape]) => [key, { dtype: dtypes[key] ?? ("F32" as const), shape }]));

const plan = (rule: readonly rules.Rule[], direction: Direction, shapes: Shapes, options?: PlanOptions) =>
  compileTable(rule, axes).plan(direction, tensors(shapes), options);

const keysOf = (moves: readonly { readonly key: string }[]) => moves.map(({ key }) => key);

function failure(run: () => unknown): InputError {
  try {
    run();
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

const model = [
  rename("tok_embeddings.weight", "model.embed_tokens.weight", "f d"),
  rename("layers.{l}.attention.wq.weight", "model.layers.{l}.self_attn.q_proj.weight", "d d2"),
  rename("norm.weight", "model.norm.weight", "d"),
];
const compiled = compileTable(model, { ...axes, d2: 5 });
const hf: Shapes = {
  "model.embed_tokens.weight": [3, 8],
  "model.layers.0.self_attn.q_proj.weight": [8, 5],
  "model.layers.1.self_attn.q_proj.weight": [8, 5],
  "model.norm.weight": [8],
};
const without = (key: string): Shapes => Object.fromEntries(Object.entries(hf).filter(([name]) => name !== key));

describe("missing tensors", () => {
  test("the first is named, with its shape and how many more", () => {
    const error = failure(() => compiled.plan("fromHf", tensors({ "model.norm.weight": [8] })));
    expect(error.code).toBe("MISSING_TENSOR");
    expect(error.message).toBe(
      '"model.embed_tokens.weight" is missing: expected [3,8] = [f, d]; and 2 more: ' +
        '"model.layers.0.self_attn.q_proj.weight", "model.layers.1.self_attn.q_proj.weight"',
    );
    expect(error.details).toMatchObject({ tensor: "model.embed_tokens.weight", expected: "[3,8] = [f, d]" });
    expect(error.details.help).toBe("the checkpoint is incomplete, or its config describes another model");
  });

  test("a near spelling among the keys without a rule is suggested", () => {
    const found = { ...without("model.norm.weight"), "model.norm.wieght": [8] };
    const error = failure(() => compiled.plan("fromHf", tensors(found)));
    expect(error.code).toBe("MISSING_TENSOR");
    expect(error.details.help).toContain('"model.norm.wieght"');
  });

  test("a key at another index is not near", () => {
    const found = {
      ...without("model.layers.1.self_attn.q_proj.weight"),
      "model.layers.7.self_attn.q_proj.weight": [8, 5],
    };
    const error = failure(() => compiled.plan("fromHf", tensors(found)));
    expect(error.details.help).toContain("tensors that no rule knows");
  });
});

describe("tensors without a rule", () => {
  const unknown = (key: string, shape: readonly number[] = [1]) =>
    failure(() => compiled.plan("fromHf", tensors({ ...hf, [key]: shape })));

  test("are named", () => {
    const error = unknown("patch_embed.proj");
    expect([error.code, error.message, error.details.tensor]).toEqual([
      "UNKNOWN_TENSOR",
      'no rule for "patch_embed.proj"',
      "patch_embed.proj",
    ]);
    expect(error.details.help).toMatch(/--family.*--allow-drop/);
  });

  test("help names a near key", () => {
    expect(unknown("model.norm.weights").details.help).toContain('nearest known key is "model.norm.weight"');
  });

  test("help says when it is the other side's spelling", () => {
    expect(unknown("norm.weight").details.help).toContain("the other side of the conversion");
  });

  test("help says when the config has fewer layers", () => {
    const { help } = unknown("model.layers.2.self_attn.q_proj.weight").details;
    expect(help).toBe("the config has 2 layers, and this is of a 3rd: is the config the right one (--config)?");
  });

  test.each([
    "model.layers.2.self_attn.q_proj.weight",
    "model.layers.11.self_attn.other",
    "norm.weight",
    ...["weight_scale", "weight_scale_inv", "SCB", "g_idx", "qweight", "input_scale", "k_scale"].map(
      (part) => `model.layers.1.self_attn.q_proj.${part}`,
    ),
    "model.layers.1.self_attn.q_proj.weight.absmax",
    "model.layers.1.self_attn.q_proj.weight.quant_map",
    "model.layers.1.self_attn.q_proj.weight.quant_state.bitsandbytes__nf4",
  ])("%s is never offered to be dropped", (key) => {
    expect(unknown(key).details.help).not.toContain("--allow-drop");
  });

  test("of a kind that the table knows say so where the user lets them go", () => {
    const extra = { ...hf, "model.layers.2.self_attn.q_proj.weight": [8, 5] };
    const { dropped } = compiled.plan("fromHf", tensors(extra), { allowDrop: (key) => key.includes(".2.") });
    expect(dropped.map(({ reason }) => reason)).toEqual(["waived: the config has 2 layers, and this is of a 3rd"]);
  });

  test("are dropped by name where the user lets them go", () => {
    const { dropped, moves } = compiled.plan("fromHf", tensors({ ...hf, extra: [1] }), {
      allowDrop: (key) => key === "extra",
    });
    expect(dropped).toEqual([{ key: "extra", reason: "waived: no rule for it" }]);
    expect(moves).toHaveLength(4);
    const other = () =>
      compiled.plan("fromHf", tensors({ ...hf, extra: [1] }), { allowDrop: (key) => key === "other" });
    expect(failure(other).code).toBe("UNKNOWN_TENSOR");
  });
});

test("a shape that does not fit is shown with the dims it should have", () => {
  const error = failure(() => compiled.plan("fromHf", tensors({ ...hf, "model.norm.weight": [9] })));
  expect(error.code).toBe("SHAPE_MISMATCH");
  expect(error.message).toBe('"model.norm.weight": expected [8] = [d], got [9]');
  expect(error.details).toMatchObject({ tensor: "model.norm.weight", expected: "[8]", found: "[9]" });
  const flat = failure(() => compiled.plan("fromHf", tensors({ ...hf, "model.norm.weight": [8, 1] })));
  expect(flat.message).toBe('"model.norm.weight": expected [8] = [d], got [8,1]');
});

describe("optional tensors", () => {
  const rule = [
    rename("norm", "norm", "d"),
    optional(concat({ a: "l.{l}.a", b: "l.{l}.b" }, "m.{l}.ab", "(a: d | b: f)")),
  ];

  test("may be absent, index by index", () => {
    const { moves } = plan(rule, "toHf", { norm: [8], "l.1.a": [8], "l.1.b": [3] });
    expect(keysOf(moves)).toEqual(["norm", "m.1.ab"]);
    expect(keysOf(plan(rule, "fromHf", { norm: [8] }).moves)).toEqual(["norm"]);
  });

  test("but only all together", () => {
    const error = failure(() => plan(rule, "toHf", { norm: [8], "l.1.a": [8] }));
    expect([error.code, error.details.tensor]).toEqual(["MISSING_TENSOR", "l.1.b"]);
  });
});

describe("ties", () => {
  const rule = [
    rename("embed", "model.embed", "f d"),
    tie("native", "head", "embed", "tied embeddings", true),
    tie("hf", "lm_head", "model.embed", "tied embeddings", false),
  ];

  test("an alias at the source must equal its original and is not carried over", () => {
    const { moves, equalities } = plan(rule, "toHf", { embed: [3, 8], head: [3, 8] });
    expect(keysOf(moves)).toEqual(["model.embed"]);
    expect(equalities).toEqual([{ alias: "head", of: "embed", reason: "tied embeddings" }]);
  });

  test("an alias may be absent at the source", () => {
    expect(plan(rule, "toHf", { embed: [3, 8] }).equalities).toEqual([]);
  });

  test("an alias has the shape of its original", () => {
    const error = failure(() => plan(rule, "toHf", { embed: [3, 8], head: [8, 3] }));
    expect(error.message).toBe('"head": expected [3,8] = [f, d], got [8,3]');
  });

  test("the target has it where the rule says so, unless the record knows", () => {
    expect(keysOf(plan(rule, "fromHf", { "model.embed": [3, 8] }).moves)).toEqual(["embed", "head"]);
    const aliases = new Map([["lm_head", true]]);
    expect(keysOf(plan(rule, "toHf", { embed: [3, 8] }, { aliases }).moves)).toEqual(["model.embed", "lm_head"]);
    const none = new Map([["head", false]]);
    expect(keysOf(plan(rule, "fromHf", { "model.embed": [3, 8] }, { aliases: none }).moves)).toEqual(["embed"]);
  });

  test("a materialised alias is made of what its original is made of", () => {
    const [embed, head] = plan(rule, "fromHf", { "model.embed": [3, 8] }).moves;
    expect(head!.pieces).toEqual(embed!.pieces);
    expect(head!.pieces).toEqual([
      { source: "model.embed", sourceOffset: 0, targetOffset: 0, sizes: [24], sourceStrides: [1], targetStrides: [1] },
    ]);
  });

  test("one a layer, at an offset", () => {
    const layers = [
      rename("embed", "model.embed", "f d"),
      tie("hf", "model.layers.{l+4}.embed", "model.embed", "shared", false),
    ];
    const { equalities } = plan(layers, "fromHf", { "model.embed": [3, 8], "model.layers.5.embed": [3, 8] });
    expect(equalities).toEqual([{ alias: "model.layers.5.embed", of: "model.embed", reason: "shared" }]);
  });
});

describe("drops", () => {
  const derived = () => Float32Array.of(1, 2, 3);
  const rule = [
    rename("norm", "model.norm", "d"),
    drop("native", "layers.{l}.expert_bias", "no place on the HF side", { dims: "e", recreate: 0 }),
    drop("hf", "model.layers.{l}.inv_freq", "derived", { dims: "f", derived }),
    drop("native", "freqs", "derived", { dims: "? f" }),
  ];

  test("carry the value that makes them safe", () => {
    const native = plan(rule, "toHf", { norm: [8], "layers.1.expert_bias": [2], freqs: [77, 3] });
    expect(native.dropped).toEqual([
      { key: "layers.1.expert_bias", reason: "no place on the HF side", equals: 0 },
      { key: "freqs", reason: "derived" },
    ]);
    expect(plan(rule, "fromHf", { "model.norm": [8], "model.layers.0.inv_freq": [3] }).dropped).toEqual([
      { key: "model.layers.0.inv_freq", reason: "derived", derived },
    ]);
  });

  test("are re-created at the target, unless it is to have no buffers", () => {
    const { moves } = plan(rule, "fromHf", { "model.norm": [8] });
    expect(moves.slice(1).map(({ key, shape, pieces, fill }) => ({ key, shape, pieces, fill }))).toEqual(
      [0, 1].map((l) => ({
        key: `layers.${l}.expert_bias`,
        shape: [2],
        pieces: [],
        fill: { value: 0, dtype: "F32" },
      })),
    );
    expect(keysOf(plan(rule, "fromHf", { "model.norm": [8] }, { buffers: false }).moves)).toEqual(["norm"]);
  });

  test("have a shape too", () => {
    const error = failure(() => plan(rule, "toHf", { norm: [8], freqs: [77, 4] }));
    expect(error.message).toBe('"freqs": expected [?,3] = [? f], got [77,4]');
  });
});

describe("spellings", () => {
  const rule = [alsoSpelled("hf", ["old.{l}.norm"], rename("layers.{l}.norm", "model.layers.{l}.norm", "d"))];

  test("are read, and noted for the record", () => {
    const { moves, spelling } = plan(rule, "fromHf", { "model.layers.0.norm": [8], "old.1.norm": [8] });
    expect(moves.map(({ key, pieces }) => [key, pieces[0]!.source])).toEqual([
      ["layers.0.norm", "model.layers.0.norm"],
      ["layers.1.norm", "old.1.norm"],
    ]);
    expect([...spelling]).toEqual([["model.layers.1.norm", "old.1.norm"]]);
  });

  test("are written where the record knows them", () => {
    const spelling = new Map([["model.layers.1.norm", "old.1.norm"]]);
    const { moves } = plan(rule, "toHf", { "layers.0.norm": [8], "layers.1.norm": [8] }, { spelling });
    expect(keysOf(moves)).toEqual(["model.layers.0.norm", "old.1.norm"]);
  });

  test("two of one tensor are refused", () => {
    const both = { "model.layers.0.norm": [8], "old.0.norm": [8], "old.1.norm": [8] };
    expect(failure(() => plan(rule, "fromHf", both)).code).toBe("TWO_SPELLINGS");
  });

  test("a prefix may be there or not", () => {
    const prefixed = [...rule, optionalPrefix("hf", "model.")];
    const { spelling } = plan(prefixed, "fromHf", { "layers.0.norm": [8], "model.layers.1.norm": [8] });
    expect([...spelling]).toEqual([["model.layers.0.norm", "layers.0.norm"]]);
    expect(failure(() => plan(rule, "fromHf", { "layers.0.norm": [8], "model.layers.1.norm": [8] })).code).toBe(
      "MISSING_TENSOR",
    );
  });
});

describe("pass-through", () => {
  const rule = [passThrough("model.{key}", "{key}"), rename("head", "lm_head", "d")];

  test("changes only names, whatever the shapes", () => {
    const { moves } = plan(rule, "toHf", { head: [8], "model.a.b": [2, 3], "model.c": [] });
    expect(moves.map(({ key, shape }) => [key, shape])).toEqual([
      ["lm_head", [8]],
      ["a.b", [2, 3]],
      ["c", []],
    ]);
    expect(moves[1]!.pieces[0]).toMatchObject({ source: "model.a.b", sizes: [6] });
    expect(keysOf(plan(rule, "fromHf", { lm_head: [8], "a.b": [2, 3] }).moves)).toEqual(["head", "model.a.b"]);
  });

  test("two tensors that would become one are refused", () => {
    const error = failure(() => plan(rule, "toHf", { head: [8], "model.lm_head": [8] }));
    expect([error.code, error.message]).toEqual([
      "KEY_COLLISION",
      '"head" and "model.lm_head" would both become "lm_head"',
    ]);
  });

  test("a key that does not match is unknown", () => {
    expect(failure(() => plan(rule, "toHf", { head: [8], other: [8] })).code).toBe("UNKNOWN_TENSOR");
  });
});

describe("dtypes", () => {
  const rule = [concat({ a: "a", b: "b" }, "ab", "(a: d | b: f)")];
  const mixed = tensors({ a: [8], b: [3] }, { b: "BF16" });

  test("of tensors that become one must agree, unless they are cast", () => {
    const error = failure(() => compileTable(rule, axes).plan("toHf", mixed));
    expect([error.code, error.message]).toEqual(["MIXED_DTYPES", '"ab" would be made of "a" in F32 and "b" in BF16']);
    expect(keysOf(compileTable(rule, axes).plan("toHf", mixed, { mixedDtypes: true }).moves)).toEqual(["ab"]);
  });

  test("of tensors that stay apart need not", () => {
    const apart = compileTable([rename("a", "x", "d"), rename("b", "y", "f")], axes);
    expect(apart.plan("toHf", mixed).moves).toHaveLength(2);
  });

  test("of stacked tensors must agree", () => {
    const stacked = compileTable([rules.stackExperts("w", "e.{e}.w", "e d")], axes);
    const experts = tensors({ "e.0.w": [8], "e.1.w": [8] }, { "e.1.w": "F16" });
    expect(failure(() => stacked.plan("fromHf", experts)).details.tensor).toBe("e.1.w");
  });
});

describe("encodings that declare dims of their own", () => {
  // gpt_oss: down_proj is [E, F, D] plain and [E, D, F] as MXFP4
  const rule = [map("down", { w2: "e d f" }, { down: { dims: "e f d", encoded: { mxfp4: "e d f" } } })];
  const table = compileTable(rule, axes);

  test("at the source", () => {
    const source = new Map([["down", { dtype: "BF16" as const, shape: [2, 8, 3], encoding: "mxfp4" }]]);
    expect(table.plan("fromHf", source).moves[0]!.pieces[0]!.sizes).toEqual([48]);
    const plain = new Map([["down", { dtype: "BF16" as const, shape: [2, 3, 8] }]]);
    expect(table.plan("fromHf", plain).moves[0]!.pieces[0]!.sizes).toEqual([2, 8, 3]);
    expect(
      failure(() => table.plan("fromHf", new Map([["down", { dtype: "BF16" as const, shape: [2, 8, 3] }]]))).code,
    ).toBe("SHAPE_MISMATCH");
  });

  test("at the target", () => {
    const source = tensors({ w2: [2, 8, 3] });
    expect(table.plan("toHf", source).moves[0]!.shape).toEqual([2, 3, 8]);
    expect(table.plan("toHf", source, { targetEncoding: () => "mxfp4" }).moves[0]!.shape).toEqual([2, 8, 3]);
  });
});

test("loops that step alike on both sides are one", () => {
  const table = compileTable([rules.permuteRope("q", "p", "(n h two) d")], { n: 5, h: 4, d: 7 });
  const [move] = table.plan("toHf", tensors({ q: [40, 7] })).moves;
  expect(move!.pieces).toEqual([
    {
      source: "q",
      sourceOffset: 0,
      targetOffset: 0,
      sizes: [5, 2, 4, 7],
      sourceStrides: [56, 7, 14, 1],
      targetStrides: [56, 28, 7, 1],
    },
  ]);
  const [same] = compileTable([rename("q", "p", "(n h two) d")], { n: 5, h: 4, d: 7 }).plan(
    "toHf",
    tensors({ q: [40, 7] }),
  ).moves;
  expect(same!.pieces[0]).toMatchObject({ sizes: [280], sourceStrides: [1], targetStrides: [1] });
});

test("a tensor without elements still says where it comes from", () => {
  const table = compileTable([rename("q", "p", "n d")], { n: 0, d: 7 });
  expect(table.plan("toHf", tensors({ q: [0, 7] })).moves[0]!.pieces).toMatchObject([{ source: "q", sizes: [0] }]);
});

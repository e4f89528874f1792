// Every kind of rule, at random sizes, against the naive reference, there and back.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Move } from "../../src/table/move.ts";
import { compileTable, type Direction } from "../../src/table/plan.ts";
import * as rules from "../../src/table/rule.ts";
import { applyMove, type Bytes } from "../helpers/moves.ts";
import { referencePair, type SideSpec, type Sizes } from "./reference.ts";

interface Case {
  readonly rule: rules.Rule;
  /** The same, spelled out by hand for the reference. */
  readonly native: SideSpec;
  readonly hf: SideSpec;
}

const { concat, map, onRanks, permuteRope, rename, reorder, split, stackExperts, together, transpose } = rules;
const expert = "mlp.{l}.experts.{e}";

const cases: Record<string, Case> = {
  rename: {
    rule: rename("layers.{l}.w", "model.{l}.w", "(n H) d"),
    native: { "layers.{l}.w": "(n H) d" },
    hf: { "model.{l}.w": "(n H) d" },
  },
  "rename of a scalar": { rule: rename("a.{l}", "b.{l}", "."), native: { "a.{l}": "." }, hf: { "b.{l}": "." } },
  transpose: {
    rule: transpose("layers.{l}.w", "model.{l}.w", "d f"),
    native: { "layers.{l}.w": "d f" },
    hf: { "model.{l}.w": "f d" },
  },
  "Conv3d ↔ Linear": {
    rule: reorder("patch.w", "visual.proj.w", "d (f e H h)", "d f e H h"),
    native: { "patch.w": "d (f e H h)" },
    hf: { "visual.proj.w": "d f e H h" },
  },
  "patch order (c t p q) ↔ (t c p q)": {
    rule: reorder("patch.w", "visual.proj.w", "d (f e H h)", "d (e f H h)"),
    native: { "patch.w": "d (f e H h)" },
    hf: { "visual.proj.w": "d (e f H h)" },
  },
  "permuteRope of a weight": {
    rule: permuteRope("layers.{l}.wq", "model.{l}.q", "(n h two) d"),
    native: { "layers.{l}.wq": "(n h two) d" },
    hf: { "model.{l}.q": "(n two h) d" },
  },
  "permuteRope of a bias": {
    rule: permuteRope("layers.{l}.bq", "model.{l}.q", "(n h two)"),
    native: { "layers.{l}.bq": "(n h two)" },
    hf: { "model.{l}.q": "(n two h)" },
  },
  "permuteRope of the rotary part of a head": {
    rule: permuteRope("layers.{l}.wq", "model.{l}.q", "(n (rot: h two | pass: e)) d"),
    native: { "layers.{l}.wq": "(n (rot: h two | pass: e)) d" },
    hf: { "model.{l}.q": "(n (rot: two h | pass: e)) d" },
  },
  together: {
    rule: together("layer", [
      rename("layers.{l}.wo", "model.{l}.o", "d (n H)"),
      stackExperts("layers.{l}.w1_EFD", `${expert}.gate`, "e f d"),
    ]),
    native: { "layers.{l}.wo": "tensor0: d (n H)", "layers.{l}.w1_EFD": "tensor1: e f d" },
    hf: { "model.{l}.o": "tensor0: d (n H)", [`${expert}.gate`]: "tensor1: f d" },
  },
  "together, of rules with several tensors": {
    rule: together("layer", [
      rename("layers.{l}.wo", "model.{l}.o", "d (n H)"),
      split("layers.{l}.w13", { gate: `${expert}.gate`, up: `${expert}.up` }, "e (gate: f | up: f) d"),
    ]),
    native: { "layers.{l}.wo": "tensor0: d (n H)", "layers.{l}.w13": "e (gate: f | up: f) d" },
    hf: { "model.{l}.o": "tensor0: d (n H)", [`${expert}.gate`]: "gate: f d", [`${expert}.up`]: "up: f d" },
  },
  stackExperts: {
    rule: stackExperts("layers.{l}.w1_EFD", `${expert}.gate`, "e f d"),
    native: { "layers.{l}.w1_EFD": "e f d" },
    hf: { [`${expert}.gate`]: "f d" },
  },
  "stacking with a transpose": {
    rule: map("stack", { "layers.{l}.w2": "e d f" }, { [`${expert}.down`]: "f d" }),
    native: { "layers.{l}.w2": "e d f" },
    hf: { [`${expert}.down`]: "f d" },
  },
  "splitting what HF stacks": {
    rule: map("unstack", { "layers.{l}.experts.{e}.w": "f d" }, { "model.{l}.w": "e d f" }),
    native: { "layers.{l}.experts.{e}.w": "f d" },
    hf: { "model.{l}.w": "e d f" },
  },
  "concat of unequal parts": {
    rule: concat({ q: "l.{l}.wq", k: "l.{l}.wk", v: "l.{l}.wv" }, "m.{l}.qkv", "(q: n H | k: k H | v: k H) d"),
    native: { "l.{l}.wq": "q: (n H) d", "l.{l}.wk": "k: (k H) d", "l.{l}.wv": "v: (k H) d" },
    hf: { "m.{l}.qkv": "(q: n H | k: k H | v: k H) d" },
  },
  "split of a grouped wqkv": {
    rule: split("l.{l}.wqkv", { q: "m.{l}.q", k: "m.{l}.k", v: "m.{l}.v" }, "(k (q: n H | k: H | v: H)) d"),
    native: { "l.{l}.wqkv": "(k (q: n H | k: H | v: H)) d" },
    hf: { "m.{l}.q": "q: (k n H) d", "m.{l}.k": "k: (k H) d", "m.{l}.v": "v: (k H) d" },
  },
  "RoPE order on q and k of a grouped wqkv only": {
    rule: map(
      "groupedQkv",
      { "l.{l}.wqkv": "(k (q: n h two | k: h two | v: H)) d" },
      { "m.{l}.q": "q: (k n two h) d", "m.{l}.k": "k: (k two h) d", "m.{l}.v": "v: (k H) d" },
    ),
    native: { "l.{l}.wqkv": "(k (q: n h two | k: h two | v: H)) d" },
    hf: { "m.{l}.q": "q: (k n two h) d", "m.{l}.k": "k: (k two h) d", "m.{l}.v": "v: (k H) d" },
  },
  "gate and up, transposed and concatenated (qwen3_vl MoE, llama4)": {
    rule: map(
      "gateUp",
      { "l.{l}.w1": "gate: e f d", "l.{l}.w3": "up: e f d" },
      { "m.{l}.gu": "e d (gate: f | up: f)" },
    ),
    native: { "l.{l}.w1": "gate: e f d", "l.{l}.w3": "up: e f d" },
    hf: { "m.{l}.gu": "e d (gate: f | up: f)" },
  },
  "gate and up of vLLM's w13 ↔ a key an expert": {
    rule: split("l.{l}.w13", { gate: `${expert}.gate`, up: `${expert}.up` }, "e (gate: f | up: f) d"),
    native: { "l.{l}.w13": "e (gate: f | up: f) d" },
    hf: { [`${expert}.gate`]: "gate: f d", [`${expert}.up`]: "up: f d" },
  },
  "interleaved parts ↔ halves": {
    rule: map("deinterleave", { "l.{l}.mlp1": "e (f (gate | up)) d" }, { "m.{l}.gu": "e d (gate: f | up: f)" }),
    native: { "l.{l}.mlp1": "e (f (gate | up)) d" },
    hf: { "m.{l}.gu": "e d (gate: f | up: f)" },
  },
  "interleaved parts ↔ two tensors": {
    rule: split("l.{l}.gu", { gate: "m.{l}.gate", up: "m.{l}.up" }, "(f (gate | up)) d"),
    native: { "l.{l}.gu": "(f (gate | up)) d" },
    hf: { "m.{l}.gate": "gate: f d", "m.{l}.up": "up: f d" },
  },
  "parts as a dimension of their own": {
    rule: concat({ a: "l.{l}.a", b: "l.{l}.b" }, "m.{l}.ab", "(a | b) d"),
    native: { "l.{l}.a": "a: d", "l.{l}.b": "b: d" },
    hf: { "m.{l}.ab": "(a | b) d" },
  },
  "parts inside parts": {
    rule: map(
      "qkvz",
      { "l.{l}.in": "(k (q: H | kv: (k: H | v: n e))) d" },
      { "m.{l}.q": "q: (k H) d", "m.{l}.kv": "kv: (k: k H | v: k n e) d" },
    ),
    native: { "l.{l}.in": "(k (q: H | kv: (k: H | v: n e))) d" },
    hf: { "m.{l}.q": "q: (k H) d", "m.{l}.kv": "kv: (k: k H | v: k n e) d" },
  },
  "a layer set": {
    rule: rename("layers.{moe}.router", "model.{moe}.gate", "e d"),
    native: { "layers.{moe}.router": "e d" },
    hf: { "model.{moe}.gate": "e d" },
  },
  "a layer set, stacked": {
    rule: stackExperts("routers", "model.{moe}.gate", "moe e d"),
    native: { routers: "moe e d" },
    hf: { "model.{moe}.gate": "e d" },
  },
  "an index offset": {
    rule: rename("mtp_layers.{m}.norm", "model.layers.{m+l}.norm", "d"),
    native: { "mtp_layers.{m}.norm": "d" },
    hf: { "model.layers.{m+l}.norm": "d" },
  },
  "a declaration for ranks": {
    rule: onRanks({ cut: 0 }, rename("layers.{l}.w", "model.{l}.w", "f d")),
    native: { "layers.{l}.w": "f d" },
    hf: { "model.{l}.w": "f d" },
  },
};

const size = fc.integer({ min: 1, max: 4 });
const sizes = fc.record({
  l: size,
  m: size,
  d: size,
  e: fc.oneof(size, fc.constant(11)),
  f: size,
  n: size,
  k: size,
  h: size,
  H: size,
  moe: fc
    .uniqueArray(fc.integer({ min: 0, max: 12 }), { minLength: 1, maxLength: 3 })
    .map((list) => list.sort((a, b) => a - b)),
});

function run(rule: readonly rules.Rule[], axes: Sizes, direction: Direction, source: ReadonlyMap<string, Bytes>) {
  const infos = new Map([...source].map(([key, { shape }]) => [key, { dtype: "F32" as const, shape }]));
  const { moves } = compileTable(rule, axes).plan(direction, infos);
  return new Map(moves.map((move: Move) => [move.key, applyMove(move, (key) => source.get(key)!)]));
}

const sorted = (tensors: ReadonlyMap<string, Bytes>) => [...tensors].sort(([a], [b]) => (a < b ? -1 : 1));

describe.each(Object.entries(cases))("%s", (_, { rule, native, hf }) => {
  test("native → HF and HF → native are what the reference says, and undo each other", () => {
    fc.assert(
      fc.property(sizes, (axes) => {
        const toHf = referencePair(native, hf, axes);
        const made = run([rule], axes, "toHf", toHf.source);
        expect(sorted(made)).toEqual(sorted(toHf.target));
        expect(sorted(run([rule], axes, "fromHf", made))).toEqual(sorted(toHf.source));
        const fromHf = referencePair(hf, native, axes);
        expect(sorted(run([rule], axes, "fromHf", fromHf.source))).toEqual(sorted(fromHf.target));
      }),
      { numRuns: 25 },
    );
  });
});

test("the reference tells a wrong rule apart", () => {
  const axes = { l: 1, n: 2, h: 2, d: 1 };
  const wrong = rename("layers.{l}.wq", "model.{l}.q", "(n h two) d");
  const { source, target } = referencePair({ "layers.{l}.wq": "(n h two) d" }, { "model.{l}.q": "(n two h) d" }, axes);
  expect(sorted(run([wrong], axes, "toHf", source))).not.toEqual(sorted(target));
});

test("experts are stacked by number, not by the order of strings", () => {
  const rule = stackExperts("w", "experts.{e}.gate", "e d");
  const source = new Map(
    Array.from({ length: 12 }, (_, e) => [`experts.${e}.gate`, { shape: [1], data: Uint8Array.of(e) }] as const).sort(
      ([a], [b]) => (a < b ? -1 : 1),
    ),
  );
  const stacked = run([rule], { e: 12, d: 1 }, "fromHf", source).get("w");
  expect([...stacked!.data]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
});

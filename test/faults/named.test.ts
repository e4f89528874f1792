// Each fault of the catalogue in a real model, through a parity run: its cause has the fault's code and names the place.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { Family } from "../../src/family/family.ts";
import type { Kind } from "../../src/faults/kinds/kind.ts";
import { FAULTS } from "../../src/faults/registry.ts";
import { viewSides, weightFaults } from "../../src/faults/weights.ts";
import { runParity } from "../../src/parity/parity.ts";
import { parityView } from "../../src/parity/side.ts";
import { rename } from "../../src/table/rule.ts";
import { kindOf, kindsOf } from "../helpers/kinds.ts";
import { faulty, hfSide, modelOf, nativeSide, sampleOf } from "../helpers/models.ts";

const folder = mkdtempSync(join(tmpdir(), "faults-"));
afterAll(() => rmSync(folder, { recursive: true }));
const ids = join(folder, "ids.json");
writeFileSync(ids, JSON.stringify(Array.from({ length: 48 }, (_, t) => t)));

const compare = (name: string, b = hfSide(name)) =>
  runParity({ a: nativeSide(name), b, input: { kind: "ids", file: ids }, backend: "cpu" });

const NAMES = ["llama3/split", "llama3/fused-tied", "qwen3_moe/untied"];
/** A model with square matrices. Its norms behind attention undo some faults: it takes those that no other has a place for. */
const SQUARE = "hf_dense/olmo2";

/** The first place, and the last one in the last layer. */
function casesOf(kind: Kind) {
  const places = [...NAMES, SQUARE].flatMap((name) => {
    const all = kind.places(sampleOf(name));
    const some = new Set([...all.slice(0, 1), ...all.filter((key) => key.includes(".layers.1.")).slice(-1)]);
    return [...some].map((place) => [name, kind.name, place, kind.code] as const);
  });
  const others = places.filter(([name]) => name !== SQUARE);
  return others.length > 0 ? others : places;
}

test.each([...NAMES, SQUARE])("%s without a fault: nothing is recognised", async (name) => {
  expect(await compare(name)).toMatchObject({ verdict: "pass", cause: null });
  expect(weightFaults(viewSides([nativeSide(name), hfSide(name)].map(parityView), 1))).toEqual([]);
});

const ADDED = kindOf("tensor-added");
/** One way to make each, where there are several. */
const cases = FAULTS.filter(({ code }) => code !== ADDED.code && code !== "LAST_PLACE")
  .flatMap((fault) => kindsOf(fault).slice(0, 1))
  .flatMap(casesOf);

test("every fault is among them that these models have a place for, and that logits show", () => {
  const ofOthers = ["ZEROED", "TENSOR_REPEATED", "FUSED_SPLIT", "HALVES_INTERLEAVED", "PAIRS_SWAPPED", "FLIPPED"];
  const apart = new Set([
    ...ofOthers,
    "AXES_PERMUTED",
    "SIGN_FLIPPED",
    "LOG_EXP",
    "HALVES_SWAPPED",
    "NON_FINITE_WEIGHTS",
    "ROWS_REPEATED",
    ADDED.code,
    "LAST_PLACE",
  ]);
  const expected = FAULTS.map(({ code }) => code).filter((code) => !apart.has(code));
  expect(new Set(cases.map(([, , , code]) => code))).toEqual(new Set(expected));
});

test.each(cases)("%s: %s in %s", async (name, kind, place, code) => {
  const { verdict, cause } = await compare(name, faulty(name, kind, place));
  expect(verdict).toBe("fail");
  expect(cause).toMatchObject({ code });
  if (kindOf(kind).make(sampleOf(name), place).tensors.length > 0) expect(cause!.tensors).toContain(place);
  else expect(cause!.fields.length).toBe(1);
});

describe("a tensor that the config has no use for", () => {
  const name = "llama3/split";
  const [place] = ADDED.places(sampleOf(name));

  test("is refused by a table that has no rule for it", async () => {
    await expect(compare(name, faulty(name, ADDED.name, place!))).rejects.toMatchObject({
      code: "UNKNOWN_TENSOR",
      details: { tensor: place },
    });
  });

  test("is named where the table has one, and the graph does not read it", async () => {
    const side = faulty(name, ADDED.name, place!);
    const [native, ...others] = side.family.layouts;
    const rules = () => [...native.rules(), rename("layers.0.feed_forward.w2.bias", place!, "d")];
    const family: Family = { ...side.family, layouts: [{ ...native, rules }, ...others] };
    const { cause } = await compare(name, modelOf(family, side.layout, side.checkpoint));
    expect(cause).toMatchObject({ code: ADDED.code, tensors: [place] });
  });
});

test("the words say what is needed to mend it", async () => {
  const key = "model.layers.0.self_attn.k_proj.weight";
  const { cause } = await compare("llama3/split", faulty("llama3/split", "rope-k-not-permuted", key));
  expect(cause?.explanation).toBe(
    `"${key}" has its rows in the order of the other rotary embedding, in heads of 10 channels`,
  );
  expect(cause?.fix).toContain("head_dim");
});

test("both of two exchanged tensors are named, and all that have the fault of the first", async () => {
  const [gate, up] = ["gate", "up"].map((word) => `model.layers.1.mlp.${word}_proj.weight`);
  const swapped = await compare("llama3/split", faulty("llama3/split", "tensors-swapped", gate!));
  expect(swapped.cause).toMatchObject({ tensors: [gate, up] });
  expect(swapped.cause?.explanation).toBe(`"${gate}" holds in a what belongs to "${up}"`);
  const [q, k] = ["q", "k"].map((word) => `model.layers.0.self_attn.${word}_proj.weight`);
  const permuted = await compare("llama3/split", faulty("llama3/split", "rope-k-not-permuted", q!, k!));
  expect(permuted.cause).toMatchObject({ code: "ROPE_PERMUTED", tensors: [q, k] });
});

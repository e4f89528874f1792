// What a model costs: a table is compiled once a side, and a plan is made once a direction, whatever is done with it.
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { planConversion } from "../../src/convert/plan.ts";
import type { Checkpoint } from "../../src/formats/checkpoint.ts";
import { openModel } from "../../src/model/model.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { runParity } from "../../src/parity/parity.ts";
import { diff } from "../../src/verify/diff.ts";
import { inspect } from "../../src/verify/inspect.ts";
import { roundtrip } from "../../src/verify/roundtrip.ts";
import { validate } from "../../src/verify/validate.ts";
import { readState, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted } from "../helpers/converted.ts";
import { counts, reset } from "../helpers/counted-tables.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { fixtureCase } from "../helpers/models.ts";
import { scratch } from "../helpers/scratch.ts";

vi.mock("../../src/table/plan.ts", async (original) => {
  const { counting } = await import("../helpers/counted-tables.ts");
  return counting(await original());
});

const opened: Checkpoint[] = [];
beforeEach(reset);
afterEach(() => {
  for (const checkpoint of opened.splice(0)) checkpoint.close();
});

function open(path: string): Checkpoint {
  const checkpoint = openCheckpoint(path);
  opened.push(checkpoint);
  return checkpoint;
}

/** The same weights in a native layout and as HF has them, and a key of a matrix of HF's. */
interface Pair {
  readonly native: string;
  readonly hf: string;
  readonly config: string;
  readonly key: string;
}

const llama = fixtureCase("llama3/split");
const fp8 = fixtureCase("deepseek_v3/fp8");
const mxfp4 = fixtureCase("gpt_oss/mxfp4");
const vision = fixtureCase("qwen3_vl_moe/bf16");
const pairs: Readonly<Record<string, Pair>> = {
  plain: { ...llama, config: llama.hf, key: "model.layers.0.self_attn.o_proj.weight" },
  "in FP8": { ...fp8, config: fp8.hf, key: "model.layers.0.self_attn.o_proj.weight" },
  "in MXFP4": { ...mxfp4, config: mxfp4.hf, key: "model.layers.0.self_attn.o_proj.weight" },
  "in another order of dims": {
    ...vision,
    hf: vision.hfs["hf-saved"]!,
    config: vision.hf,
    // Of the first step that differs without it, too: torchtitan's merger has another GELU.
    key: "model.visual.deepstack_merger_list.0.linear_fc2.weight",
  },
};
/** Canonical order is written by a way there and back. Codes of FP8 lie in it. */
const isReordered = (name: string) => name !== "plain" && name !== "in FP8";

describe.each(Object.entries(pairs))("%s", (name, { native, hf, config, key }) => {
  const options = { adapters, config };
  const model = (path: string) => openModel(open(path), options);
  const input = { kind: "random", tokens: 8 } as const;
  const parity = (a: string, b: string) => runParity({ a: model(a), b: model(b), backend: "cpu", input });
  const differences = (a: string, b: string) => diff(open(a), open(b), { a: options, b: options });
  const back = isReordered(name) ? 1 : 0;

  function wrong(): string {
    const state = readState(hf);
    const tensor = state.get(key)!;
    state.set(key, { ...tensor, bytes: new Uint8Array(tensor.bytes.length) });
    return writeSafetensors(join(scratch(), "wrong"), state, { config: join(config, "config.json") });
  }

  test("convert", () => {
    // The root that the record gets is of the canonical view, which takes the plan over; a target in codes has none.
    const isInCodes = name === "in FP8" || name === "in MXFP4";
    planConversion(open(hf), undefined, options);
    expect(counts).toEqual({ compiled: 1, toHf: back, fromHf: 1 });
    reset();
    planConversion(open(native), undefined, options);
    expect(counts).toEqual({ compiled: 1, toHf: 1, fromHf: 0 });
    reset();
    planConversion(open(hf), undefined, { ...options, to: "hf" });
    expect(counts).toEqual({ compiled: 1, toHf: isInCodes ? 0 : back, fromHf: 1 });
  });

  test("diff, of a and b and of b and a", async () => {
    for (const [a, b] of [
      [native, hf],
      [hf, native],
    ] as const) {
      reset();
      expect(await differences(a, b)).toMatchObject({ verdict: "pass", keys: "hf" });
      expect(counts).toEqual({ compiled: 2, toHf: 1 + back, fromHf: 1 });
    }
  });

  test("roundtrip", async () => {
    for (const path of [hf, native]) {
      reset();
      expect(await roundtrip(model(path))).toMatchObject({ verdict: "pass" });
      expect(counts).toEqual({ compiled: 1, toHf: 1, fromHf: 1 });
    }
  });

  test("validate and inspect", async () => {
    await validate(model(hf));
    expect(counts).toEqual({ compiled: 1, toHf: 0, fromHf: 1 });
    reset();
    await validate(model(native));
    expect(counts).toEqual({ compiled: 1, toHf: 1, fromHf: 0 });
    reset();
    expect(inspect(open(hf), options).problems).toEqual([]);
    expect(counts).toEqual({ compiled: 1, toHf: 0, fromHf: 0 });
  });

  test("parity, where it passes and where it has to look for the wrong weight", async () => {
    expect(await parity(native, hf)).toMatchObject({ verdict: "pass" });
    // Weights are compared bit for bit in the canonical order.
    expect(counts).toEqual({ compiled: 2, toHf: 1 + back, fromHf: 1 });
    const broken = wrong();
    reset();
    expect(await parity(native, broken)).toMatchObject({ verdict: "fail", cause: { tensors: [key] } });
    expect(counts).toEqual({ compiled: 2, toHf: 1 + back, fromHf: 1 });
  });
});

test("two HF sides, each in an order of its own", async () => {
  const options = { adapters, config: vision.hf };
  const [a, b] = [open(vision.hf), open(vision.hfs["hf-saved"]!)];
  expect(await diff(a, b, { a: options, b: options })).toMatchObject({ verdict: "pass", keys: "hf" });
  expect(counts).toEqual({ compiled: 2, toHf: 1, fromHf: 2 });
});

test("from one native layout to another: a table each; rank shards are joined by the same table", async () => {
  const [meta, hf] = [join(FIXTURES, "meta/llama3"), join(scratch(), "hf")];
  await converted(meta, hf);
  reset();
  planConversion(open(meta), undefined, { adapters, to: "torchtitan" });
  expect(counts).toEqual({ compiled: 2, toHf: 1, fromHf: 1 });
  reset();
  // One more for the root of the canonical view, which the model's own table tells.
  planConversion(open(hf), undefined, { adapters, to: "meta" });
  expect(counts).toEqual({ compiled: 2, toHf: 0, fromHf: 2 });
  reset();
  await validate(openModel(open(meta), { adapters }));
  expect(counts).toEqual({ compiled: 1, toHf: 1, fromHf: 0 });
});

// Models that transformers runs and torchtitan does not run alike, or not at all.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { llama3 } from "../../adapters/llama3/index.ts";
import { qwen3 } from "../../adapters/qwen3/index.ts";
import type { JsonObject } from "../../src/base/json.ts";
import type { Adapter } from "../../src/family/adapter.ts";
import { openSafetensors } from "../../src/formats/safetensors/open.ts";
import { runParity } from "../../src/parity/parity.ts";
import { FIXTURES, fixtureCases } from "../helpers/fixtures.ts";
import { compiledTable } from "../helpers/layouts.ts";
import { modelOf, type TestModel } from "../helpers/models.ts";

const backend = "cpu";
const sliding = `${FIXTURES}numerics/sliding-window`;

function open(adapter: Adapter, folder: string, change: JsonObject = {}): TestModel {
  const json: JsonObject = JSON.parse(readFileSync(`${folder}/config.json`, "utf8"));
  const family = adapter.open({ ...json, ...change }, folder);
  return modelOf(family, family.hf, openSafetensors(folder));
}

/** The same weights under native keys, for a family whose rules are renamings. */
function asNative(side: TestModel): TestModel {
  const { checkpoint, family } = side;
  const table = compiledTable(family, "torchtitan");
  const sources = new Map(
    table.plan("fromHf", checkpoint.tensors).moves.map(({ key, pieces }) => [key, pieces[0]!.source] as const),
  );
  const tensors = new Map([...sources].map(([key, from]) => [key, { ...checkpoint.tensors.get(from)!, key }]));
  const read: typeof checkpoint.read = (key, begin, target) => checkpoint.read(sources.get(key)!, begin, target);
  return { ...side, layout: family.layouts[0], source: { tensors, read } };
}

test("sliding windows: the HF graph gives transformers' f64 logits", async () => {
  const golden = `${sliding}.golden.safetensors`;
  const report = await runParity({ a: open(qwen3, sliding), golden, backend });
  expect(report).toMatchObject({ verdict: "pass", metrics: { top1: 1, top5: 1 } });
  expect(report.metrics.klMeanNats).toBeLessThan(1e-13);
  const without = await runParity({
    a: open(qwen3, sliding, { layer_types: null, use_sliding_window: false }),
    golden,
    backend,
  });
  expect(without.verdict).toBe("fail");
  expect(without.positions.firstOver).toBe(7);
});

test("sliding windows: torchtitan has none, which is a known difference and the whole of it", async () => {
  const hf = open(qwen3, sliding);
  const report = await runParity({ a: asNative(hf), b: hf, backend });
  expect(report).toMatchObject({
    verdict: "fail",
    verdictWithoutKnown: "pass",
    knownDifferences: [{ code: "SLIDING_WINDOW" }],
    cause: { code: "SLIDING_WINDOW" },
    firstDivergence: { tap: "layers.1.attn" },
  });
  expect(report.knownDifferences[0]!.klMeanNats).toBeCloseTo(report.metrics.klMeanNats, 12);
});

test("linear scaling of RoPE: torchtitan cannot run the model, and that is said", async () => {
  const { hf } = fixtureCases.find(({ name }) => name === "llama3/split")!;
  const rope = { rope_parameters: { rope_type: "linear", rope_theta: 1e4, factor: 2 } };
  expect(() => open(llama3, hf, rope).family.layouts[0].forward()).toThrow(
    expect.objectContaining({ code: "ROPE_NOT_IN_TORCHTITAN", exitCode: 3 }),
  );
});

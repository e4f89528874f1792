// Mixtures of experts and multi-token prediction: choices that differ, choices that are pinned, taps that count.
import { expect, test } from "vitest";
import { CpuBackend } from "../../numerics/cpu/backend.ts";
import type { Forward } from "../../numerics/graph.ts";
import { openGolden } from "../../src/parity/inputs/golden.ts";
import { runParity } from "../../src/parity/parity.ts";
import { SideWeights } from "../../src/parity/side.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { bytesOf, hfSide, mutated, nativeSide } from "../helpers/models.ts";
import { largestError, recorded } from "../helpers/tensors.ts";

const backend = "cpu";

/** A weight with every value multiplied by 1 + size · a wave. */
function shaken(side: ReturnType<typeof hfSide>, key: string, size: number) {
  const values = new Float32Array(bytesOf(side.checkpoint, key).buffer);
  const bytes = new Uint8Array(values.map((x, i) => x * (1 + size * Math.sin(i))).buffer);
  return mutated(side, { [key]: { bytes } });
}

test("the same weights choose the same experts, and the report says by how much", async () => {
  const report = await runParity({ a: nativeSide("qwen3_moe/untied"), b: hfSide("qwen3_moe/untied"), backend });
  expect(report.routing).toMatchObject({ mode: "free", flipped: 0, largestFlippedMargin: null });
  expect(report.routing?.choices).toBe(report.routing!.layers.length * 512);
  expect(report.routing?.smallestMargin).toBeGreaterThan(0);
  // Known differences are not looked for where rounding explains all.
  expect(report).toMatchObject({ verdict: "pass", knownDifferences: [], klMeanNatsWithoutKnown: null });
  expect((await runParity({ a: hfSide("llama3/split"), b: hfSide("llama3/split"), backend })).routing).toBeNull();
});

test("near-ties that flip are counted; pinned, the second side takes the first one's experts", async () => {
  const hf = hfSide("qwen3_moe/untied");
  const b = shaken(hf, "model.layers.0.mlp.gate.weight", 2e-2);
  const free = await runParity({ a: hf, b, backend });
  expect(free.routing?.flipped).toBeGreaterThan(0);
  expect(free.routing?.largestFlippedMargin).toBeLessThan(0.05);
  expect(free.verdict).toBe("fail");
  const pinned = await runParity({ a: hf, b, backend, routing: "pinned" });
  expect(pinned.routing).toMatchObject({ mode: "pinned", flipped: 0 });
  expect(pinned.metrics.klMaxNats).toBeLessThan(free.metrics.klMaxNats / 10);
});

test("experts in another order are a fault, pinned or not", async () => {
  const hf = hfSide("qwen3_moe/untied");
  const key = (e: number) => `model.layers.1.mlp.experts.${e}.down_proj.weight`;
  const b = mutated(hf, {
    [key(2)]: { bytes: bytesOf(hf.checkpoint, key(10)) },
    [key(10)]: { bytes: bytesOf(hf.checkpoint, key(2)) },
  });
  for (const routing of ["free", "pinned"] as const) {
    const report = await runParity({ a: nativeSide("qwen3_moe/untied"), b, backend, routing });
    expect(report).toMatchObject({ verdict: "fail", firstDivergence: { tap: "layers.1.ffn" } });
  }
});

test.each([
  ["deepseek_v3/mtp", "lm_head.weight"],
  ["deepseek_v3/megatron", "output_layer.weight"],
  ["glm4_moe/megatron", "output_layer.weight"],
] as const)("MTP layers of %s: the trainer's own logits", async (name, head) => {
  const model = nativeSide(name);
  const { layout } = model;
  const weights = new SideWeights(model);
  const golden = recorded(`${FIXTURES}${name}/native-mtp.safetensors`, "mtp_logits.0");
  const forward: Forward = function* (op, weight, input) {
    for (const tap of layout.forward()(op, weight, input)) {
      yield tap;
      if (tap.name === "mtp.0") return op.linear(tap.value, weight(head));
    }
    throw new Error("no MTP layer");
  };
  const cpu = new CpuBackend();
  const ids_T = openGolden(`${FIXTURES}${name}/golden.safetensors`).ids;
  const has = (key: string) => model.source.tensors.has(key);
  const generator = forward(cpu.ops, (key) => cpu.weight(weights.weight(key)), { ids_T, has });
  let step = generator.next();
  while (!step.done) step = generator.next();
  await cpu.evaluate([step.value]);
  expect(largestError(await cpu.readback(step.value), golden.values)).toBeLessThan(2e-6);
});

test("MTP layers: a fault in one fails, though no logit tells", async () => {
  const native = nativeSide("deepseek_v3/mtp");
  const hub = hfSide("deepseek_v3/mtp");
  const good = await runParity({ a: native, b: hub, backend });
  expect(good).toMatchObject({
    verdict: "fail",
    verdictWithoutKnown: "pass",
    findings: [{ code: "MTP" }],
    cause: { code: "MTP_BEFORE_NORM" },
  });
  expect(good.metrics.klMeanNats).toBeLessThan(1e-13);
  const bad = await runParity({
    a: native,
    b: shaken(hub, "model.layers.2.hnorm.weight", 1e-3),
    backend,
    acceptKnown: true,
  });
  expect(bad).toMatchObject({ verdict: "fail", findings: [{ code: "MTP" }] });
});

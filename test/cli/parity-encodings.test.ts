// Quantised checkpoints run forward: FP8 blocks and MXFP4, decoded as the other side holds its weights.
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import type { BackendName } from "../../numerics/capabilities.ts";
import { openModel } from "../../src/model/model.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { runParity } from "../../src/parity/parity.ts";
import { flipped, readState, writeSafetensors } from "../helpers/checkpoints.ts";
import { describeGpu } from "../helpers/gpu.ts";
import { fixtureCase } from "../helpers/models.ts";
import { scratch } from "../helpers/scratch.ts";
import { run } from "./command.ts";

const fp8 = fixtureCase("deepseek_v3/fp8");
const mxfp4 = fixtureCase("gpt_oss/mxfp4");
/** A byte of a scale that has a bit of its exponent as the lowest. */
const cases = [
  { name: "fp8", entry: fp8, scales: "model.layers.0.mlp.gate_proj.weight_scale_inv", at: 3, scaled: "gate_proj" },
  { name: "mxfp4", entry: mxfp4, scales: "model.layers.0.mlp.experts.down_proj_scales", at: 0, scaled: "down_proj" },
];

const parity = (...args: string[]) => run("parity", ...args, "--json");

function onBackend(backend: BackendName, limit: number): void {
  describe.each(cases)("$name", ({ name, entry, scales, at, scaled }) => {
    const { native, hf, golden } = entry;
    const on = ["--backend", backend];

    it("computes what was decoded by upstream, and transformers' logits", async () => {
      const both = await parity(native, hf, "--config", hf, ...on);
      expect(both.json).toMatchObject({ verdict: "pass", a: { encoding: null }, b: { encoding: name } });
      expect(both.json.metrics.klMeanNats).toBeLessThan(limit);
      const alone = await parity(hf, "--golden", golden, ...on);
      expect(alone.json).toMatchObject({ verdict: "pass", a: { encoding: name }, metrics: { top1: 1, top5: 1 } });
      expect(alone.json.metrics.klMeanNats).toBeLessThan(limit);
    });

    it("fails on one wrong scale, and names the weight", async () => {
      const state = readState(hf);
      state.set(scales, flipped(state.get(scales)!, at));
      const copy = writeSafetensors(join(scratch(), "copy"), state, { config: join(hf, "config.json") });
      const both = await parity(native, copy, "--config", copy, ...on);
      expect([both.code, both.json.verdict]).toEqual([1, "fail"]);
      expect(both.json.cause).toMatchObject({ code: "SCALED", tensors: [expect.stringContaining(scaled)] });
      // Without the search for what would explain the golden: its tests are in test/parity/hypotheses.
      const a = openModel(openCheckpoint(copy), { adapters });
      const alone = await runParity({ a, golden, backend, search: false });
      expect(alone).toMatchObject({ verdict: "fail", findings: [{ code: "KL" }], hypotheses: [] });
    });
  });
}

describe("on cpu", () => onBackend("cpu", 1e-13));
describe("on wasm", () => onBackend("wasm", 2e-11));
describeGpu("on webgpu", () => onBackend("webgpu", 2e-11));

describe("weights that the config declares as bf16", () => {
  const declared = (): string => {
    const copy = join(scratch(), "bf16");
    cpSync(fp8.hf, copy, { recursive: true });
    const config = readFileSync(join(copy, "config.json"), "utf8");
    const changed = config.replace('"dtype": "float32"', '"dtype": "bfloat16"');
    expect(changed).not.toBe(config);
    writeFileSync(join(copy, "config.json"), changed);
    return copy;
  };

  it("are not rounded against a trainer's f32, nor in a diff", async () => {
    const hf = declared();
    const { json } = await parity(fp8.native, hf, "--config", hf, "--backend", "cpu");
    expect(json).toMatchObject({ verdict: "pass", b: { dtype: "F32", encoding: "fp8" }, metrics: { klMeanNats: 0 } });
    const diff = await run("diff", fp8.native, hf, "--config", hf, "--json");
    expect(diff.json).toMatchObject({ verdict: "pass", differences: [] });
  });

  it("are rounded against what a conversion rounded so", async () => {
    const hf = declared();
    const native = join(scratch(), "native");
    expect((await run("convert", hf, native)).code).toBe(0);
    const { json } = await parity(native, hf, "--backend", "cpu");
    expect(json).toMatchObject({ verdict: "pass", b: { dtype: "BF16", encoding: "fp8" }, metrics: { klMeanNats: 0 } });
    expect((await run("diff", native, hf, "--json")).json.differences).toEqual([]);
  });

  it("differ from what was rounded on one side only", async () => {
    const hf = declared();
    const native = join(scratch(), "native");
    expect((await run("convert", hf, native)).code).toBe(0);
    const { code, json } = await parity(native, fp8.hf, "--config-a", hf, "--backend", "cpu");
    expect(code).toBe(1);
    expect(json.cause.code).toBe("ROUNDED");
  });
});

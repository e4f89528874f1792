// A fixture of every family proved by the built command: there and back, and run forward against upstream's logits.
import { describe, expect, test } from "vitest";
import { acceptEvery, commandCases } from "../helpers/fixtures.ts";
import { run } from "./command.ts";

describe.each(commandCases)("$name", ({ family, native, hf, golden, inputs }) => {
  const images = inputs === null ? [] : ["--inputs", inputs];

  test("roundtrip passes on both sides", () => {
    expect(run("roundtrip", hf).json.verdict).toBe("pass");
    expect(run("roundtrip", native, "--config", hf).json.verdict).toBe("pass");
  });

  test("on the CPU in f64, logits are those of transformers in f64", () => {
    const { code, json, stderr } = run("parity", hf, "--golden", golden, "--backend", "cpu", ...images);
    expect(code, stderr).toBe(0);
    expect(json.metrics.klMeanNats).toBeLessThan(1e-13);
    expect(json.metrics.top1).toBe(1);
  });

  test("torchtitan's checkpoint and transformers' agree in logits", () => {
    const { code, json } = run("parity", native, hf, "--config", hf, ...acceptEvery(family), "--max-kl", "1e-10");
    expect(json).toMatchObject({ verdict: "pass", findings: [] });
    expect(code).toBe(0);
    expect(json.metrics.tokens).toBeGreaterThanOrEqual(512);
  });
});

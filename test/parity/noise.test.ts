// The noise floor: what rounding alone does, measured in each run, and the limit that follows from it.
import { expect, test } from "vitest";
import { runParity } from "../../src/parity/parity.ts";
import { thresholds } from "../../src/parity/verdict/limits.ts";
import { describeGpu } from "../helpers/gpu.ts";
import { faulty, hfSide, nativeSide } from "../helpers/models.ts";

const [a, b] = [nativeSide("llama3/split"), hfSide("llama3/split")];

test("in f64 another order of summation does not show in logits", async () => {
  const { noiseFloor, thresholds } = await runParity({ a, b, backend: "cpu" });
  expect(noiseFloor).toMatchObject({ tokens: 64, side: "b" });
  expect(noiseFloor!.klMeanNats).toBeLessThan(1e-15);
  expect(thresholds).toEqual({ klMeanNats: 1e-8, top1: null, origin: "default" });
});

test("logits that are not finite have no noise floor", async () => {
  const report = await runParity({ a, b: faulty("llama3/split", "one-nan", "model.norm.weight"), backend: "cpu" });
  expect(report).toMatchObject({ verdict: "fail", noiseFloor: null, thresholds: { origin: "default" } });
});

describeGpu("in f32", () => {
  test("it is of the size of the difference between two sides that hold the same model", async () => {
    const { noiseFloor, metrics } = await runParity({ a, b, backend: "webgpu" });
    expect(noiseFloor!.klMeanNats).toBeGreaterThan(0);
    expect(noiseFloor!.klMeanNats).toBeLessThan(1e-10);
    expect(metrics.klMeanNats / noiseFloor!.klMeanNats).toBeLessThan(30);
  });
});

test("a model that amplifies rounding gets a measured limit, up to a point, unless one was given", () => {
  const noise = (klMeanNats: number) => ({ klMeanNats });
  expect(thresholds({}, null)).toEqual({ klMeanNats: 1e-8, top1: null, origin: "default" });
  expect(thresholds({}, noise(9e-10))).toMatchObject({ klMeanNats: 1e-8, origin: "default" });
  expect(thresholds({}, noise(2e-9))).toMatchObject({ klMeanNats: 2e-8, origin: "measured" });
  expect(thresholds({}, noise(1e-3))).toMatchObject({ klMeanNats: 1e-6, origin: "measured" });
  expect(thresholds({ maxKlNats: 1e-9 }, noise(1e-3))).toEqual({ klMeanNats: 1e-9, top1: null, origin: "given" });
});

// Whole models in f32, against the logits that upstream computed in f64.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { SharedBackend } from "../../src/parity/backend.ts";
import { openGolden } from "../../src/parity/inputs/golden.ts";
import { runParity } from "../../src/parity/parity.ts";
import { everyKnown, type FixtureCase, fixtureCases } from "../helpers/fixtures.ts";
import { faulty, hfSide, nativeSide, openHf, withCheckpoint } from "../helpers/models.ts";
import { scratch } from "../helpers/scratch.ts";

/**
 * f32 rounding alone: 4e-13 to 6e-12 measured of text, up to 1.4e-11 behind a vision tower. A token of qwen3_5/dense has a
 * state all but orthogonal to its query, which the norm behind it makes large: 7e-10, and 5e-10 in transformers' own f32.
 */
const limitOf = ({ name, inputs }: FixtureCase): number =>
  name === "qwen3_5/dense" ? 1e-9 : inputs === null ? 2e-11 : 1e-10;

/** The ids of a golden, as a file for `--ids`: two graphs are then compared on them, and not with its logits. */
function idsOf(golden: string) {
  const opened = openGolden(golden);
  const file = join(scratch(), "ids.json");
  writeFileSync(file, JSON.stringify(opened.ids));
  opened.close();
  return { kind: "ids", file } as const;
}

declare module "vitest" {
  interface TaskMeta {
    /** How far a whole model's logits are from the reference; `npm run test:gpu` shows the largest. */
    klMeanNats?: number;
    of?: string;
  }
}

export function wholeModels(backend: "webgpu" | "wasm"): void {
  // As a gate holds it for many pairs: a driver that compiles on the CPU takes longer for kernels than for the models.
  const shared = new SharedBackend();
  afterAll(() => shared.close());
  for (const entry of fixtureCases) {
    const { name, golden, hf, nativeGolden, inputs } = entry;
    it(`${name}: the HF graph gives transformers' f64 logits, the native graph torchtitan's`, async ({ task }) => {
      const a = withCheckpoint(hfSide(name), openHf(hf));
      const input = inputs === null ? {} : { input: { kind: "inputs", file: inputs } as const };
      const sides = [{ a, golden }, ...(nativeGolden === null ? [] : [{ a: nativeSide(name), golden: nativeGolden }])];
      for (const side of sides) {
        const { metrics, backend: used } = await runParity({ ...side, ...input, backend, shared });
        const klMeanNats = Math.max(task.meta.klMeanNats ?? 0, metrics.klMeanNats);
        Object.assign(task.meta, { of: "graphs against upstream's f64 logits", klMeanNats });
        expect(used.name).toBe(backend);
        expect(metrics.klMeanNats).toBeLessThan(limitOf(entry));
        expect(metrics).toMatchObject({ top1: 1, top5: 1 });
      }
    });
  }

  it.for(fixtureCases.filter(({ nativeGolden }) => nativeGolden === null).map((entry) => [entry.name, entry] as const))(
    "%s: the native graph gives the logits of the HF graph",
    async ([name, { golden, inputs }], { task }) => {
      const input = inputs === null ? idsOf(golden) : ({ kind: "inputs", file: inputs } as const);
      const [a, b] = [nativeSide(name), hfSide(name)];
      const report = await runParity({
        a,
        b,
        input,
        backend,
        shared,
        acceptKnown: everyKnown(a.family.family),
        maxKlNats: 1e-10,
      });
      const klMeanNats = report.klMeanNatsWithoutKnown ?? report.metrics.klMeanNats;
      Object.assign(task.meta, { of: "native graphs against HF's", klMeanNats });
      expect(report).toMatchObject({ verdict: "pass", findings: [], backend: { name: backend } });
    },
  );

  it("compares two graphs tap by tap, and a fault in one weight shows where it is", async () => {
    const key = "model.layers.1.mlp.up_proj.weight";
    const [a, b] = [nativeSide("llama3/split"), hfSide("llama3/split")];
    const good = await runParity({ a, b, backend, localise: true });
    expect(good).toMatchObject({ verdict: "pass", firstDivergence: null });
    const bad = await runParity({ a, b: faulty("llama3/split", "tensors-swapped", key), backend });
    expect(bad).toMatchObject({ verdict: "fail", firstDivergence: { tap: "layers.1.ffn" } });
  });

  it("NaN in one weight is seen", async () => {
    const key = "model.layers.0.self_attn.k_proj.weight";
    const [a, b] = [nativeSide("llama3/split"), faulty("llama3/split", "one-nan", key)];
    expect((await runParity({ a, b, backend })).verdict).toBe("fail");
  });
}

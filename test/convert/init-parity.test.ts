// Seeded models run: in a trainer's layout as in Hugging Face's, with logits that tell tokens and models apart.
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { convert } from "../../src/convert/convert.ts";
import { planInit } from "../../src/convert/init/init.ts";
import { openModel } from "../../src/model/model.ts";
import { type ParityReport, runParity } from "../../src/parity/parity.ts";
import { validate } from "../../src/verify/validate.ts";
import { opened } from "../helpers/checkpoints.ts";
import { commandCases, encodedCases, everyKnown, type FixtureCase, fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

/** One of each family, and one that scales its embeddings, whose norms are stored as w − 1. */
const encoded = new Set(encodedCases.map(({ name }) => name));
const cases = [...commandCases.filter(({ name }) => !encoded.has(name)), fixture("hf_dense/gemma2-tied-bf16")];
/** Pictures take the longest. */
const SEEING = "qwen3_vl/tied";

async function parityOf({ name, hf, family, inputs, vocab }: FixtureCase, layout: string): Promise<ParityReport> {
  const folder = scratch();
  const made = async (to: string) => {
    const path = join(folder, to);
    await convert(planInit(hf, path, { adapters, to }), { fsync: false });
    return path;
  };
  const ids = Array.from({ length: 8 }, (_, i) => (i * 37 + 5) % vocab);
  const input =
    name === SEEING && inputs !== null ? ({ kind: "inputs", file: inputs } as const) : ({ kind: "list", ids } as const);
  const paths = [await made("hf"), await made(layout)] as const;
  return opened(paths[0], (left) =>
    opened(paths[1], async (right) => {
      const models = [openModel(left, { adapters, config: hf }), openModel(right, { adapters, config: hf })] as const;
      for (const model of models) {
        const { differences } = await validate(model);
        // Without a tokenizer and processor there is more to say of how it loads.
        expect(differences.filter(({ kind }) => kind !== "unloadable" && kind !== "id")).toEqual([]);
      }
      return runParity({ a: models[0], b: models[1], backend: "cpu", acceptKnown: everyKnown(family), input });
    }),
  );
}

function deviation(values: readonly number[]): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
}

test("all families are tried", () => {
  expect(new Set(cases.map(({ family }) => family))).toEqual(new Set(adapters.map(({ family }) => family)));
});

describe.each(cases)("$name", (one) => {
  test("computes the same in the trainer's layout, and something", async () => {
    const report = await parityOf(one, one.layout);
    expect(report).toMatchObject({ verdict: "pass", verdictWithoutKnown: "pass", nonFinite: null });
    expect(Math.abs(report.klMeanNatsWithoutKnown ?? report.metrics.klMeanNats)).toBeLessThan(1e-12);
    const spread = deviation(report.logits.spread.reference);
    expect(spread).toBeGreaterThan(0.3);
    expect(spread).toBeLessThan(5);
  });
});

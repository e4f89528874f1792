// The catalogue: a fault added to it is one file and its line, and these tests take it up.
import { readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { edited } from "../../src/faults/edit.ts";
import type { Fault, Sample, TensorFault } from "../../src/faults/fault.ts";
import { modelsOf, pairOf } from "../../src/faults/pair.ts";
import { FAULTS, recognise } from "../../src/faults/registry.ts";
import { compareSources } from "../../src/views/compare.ts";
import { tensorInfo } from "../../src/views/tensor-source.ts";
import { kindsOf } from "../helpers/kinds.ts";
import { sampleOf } from "../helpers/models.ts";

const ROOMS = ["model", "order", "values"];
const HOME = new URL("../../src/faults/", import.meta.url);

const isFault = (value: unknown): value is Fault =>
  typeof value === "object" && value !== null && "code" in value && "recognise" in value;

describe("every file is one fault, and is listed", () => {
  const files = ROOMS.flatMap((room) => readdirSync(new URL(room, HOME)).map((name) => `${room}/${name}`));

  test.each(files)("%s", async (file) => {
    const exported: Readonly<Record<string, unknown>> = await import(new URL(file, HOME).href);
    const [fault, ...more] = Object.values(exported).filter(isFault);
    expect(more).toEqual([]);
    expect(FAULTS).toContain(fault);
    expect(fault!.code.toLowerCase().replaceAll("_", "-")).toBe(file.slice(file.indexOf("/") + 1, -".ts".length));
    expect(fault).toMatchObject({
      recognise: expect.any(Function),
      words: expect.any(Function),
      mend: expect.any(Function),
    });
  });

  test("no other is, and each has a code of its own", () => {
    expect(new Set(FAULTS.map(({ code }) => code)).size).toBe(files.length);
    expect(FAULTS.length).toBe(files.length);
  });
});

/** Tensors of these fixtures that a fault changed, each with what its pair is taken for. */
function recognised(good: Sample, bad: Sample) {
  const different = new Set(run(compareSources(good.source, bad.source)).map(({ key }) => key));
  const models = modelsOf(good.source, bad.source);
  return [...different].map((key) => ({ key, ...recognise(pairOf(models, key)) }));
}

function run<T>(steps: Generator<number, T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

const samples = [
  "llama3/split",
  "qwen3_moe/untied",
  "hf_dense/olmo2",
  "gpt_oss/bf16",
  "kimi_k2_7/images",
  "qwen3_5/dense",
].map((name) => ({ name, good: sampleOf(name) }));

const ofATensor = FAULTS.filter((fault): fault is TensorFault => fault.of === "tensor");

/** The first place and the last one. */
const someOf = (places: readonly string[]): string[] => [...new Set([...places.slice(0, 1), ...places.slice(-1)])];

describe.each(ofATensor.map((fault) => [fault.code, fault] as const))("%s", (_, fault) => {
  test.each(samples)("$name: wherever it is made, it is recognised", ({ good }) => {
    for (const [kind, place] of kindsOf(fault).flatMap((of) =>
      someOf(of.places(good)).map((at) => [of, at] as const),
    )) {
      const made = kind.make(good, place);
      const found = recognised(good, made);
      expect(found.map(({ key }) => key).toSorted()).toEqual(made.tensors.toSorted());
      const codes = [kind.code, ...(kind.alsoCodes ?? [])];
      const told = found.filter((each) => codes.includes(each.code));
      expect(told, `${kind.name} made in ${place}: ${JSON.stringify(found.slice(0, 2))}`).not.toEqual([]);
      for (const { words, mend } of found) {
        expect(words).toMatch(/^(is|has|holds) /);
        expect(words).not.toMatch(/undefined|NaN/);
        expect(mend).not.toBe("");
      }
    }
  });
});

test("a tensor that cannot be compared element by element is told to differ", () => {
  const { source } = samples[0]!.good;
  const key = "model.norm.weight";
  const longer = { bytes: new Uint8Array(400), info: tensorInfo(key, "F32", [100]) };
  const pair = pairOf(modelsOf(source, edited(source, { [key]: longer })), key);
  expect(pair).toBeNull();
  expect(recognise(pair)).toMatchObject({ code: "WEIGHTS_DIFFER", words: "has other bytes" });
});

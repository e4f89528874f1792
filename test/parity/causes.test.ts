// Causes and places of faults that something else hides: a known difference upstream.
import { describe, expect, test } from "vitest";
import { runParity } from "../../src/parity/parity.ts";
import { kindOf } from "../helpers/kinds.ts";
import { faulty, nativeSide, sampleOf } from "../helpers/models.ts";

const input = { kind: "random", tokens: 32 } as const;

describe("behind a known difference upstream", () => {
  test.each([
    ["qwen3/yarn", "its code scales otherwise from the first layer on"],
    ["hf_dense/gemma2-tied-bf16", "its norms have another eps"],
    ["muse_glimmer/images-bf16", "its vision tower has another table of positions"],
    ["kimi_k2_7/images", "one that passes by itself, at a KL of 2e-10"],
  ])("%s: %s; the fault behind it is named, and its place", async (name) => {
    const a = nativeSide(name);
    const [place] = kindOf("tensors-swapped")
      .places(sampleOf(name))
      .filter((key) => /layers\.1\..*mlp\.(?:experts\.\d+\.)?gate_proj\.weight$/.test(key));
    const report = await runParity({ a, b: faulty(name, "tensors-swapped", place!), input, backend: "cpu" });
    expect(report.knownDifferences.length).toBeGreaterThan(0);
    expect(report).toMatchObject({ verdict: "fail", cause: { code: "TENSORS_SWAPPED" } });
    expect(report.cause!.tensors).toContain(place);
    expect(report.causes[0]).toEqual(report.cause);
    expect(report.firstDivergence?.tap).toMatch(/layers\.1\.(?:ffn|mlp)/);
  });
});

import { describe, expect, test } from "vitest";
import { type RopeSpec, ropeTable, torchtitanFrequencies, transformersFrequencies } from "../../numerics/rope.ts";
import { openSafetensors } from "../../src/formats/safetensors/open.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { recorded } from "../helpers/tensors.ts";

const FILE = `${FIXTURES}numerics/rope.safetensors`;

interface RecordedRope {
  readonly dims: number;
  readonly rope: Readonly<Record<string, number | string | boolean>>;
  readonly attentionFactor: number;
}

const file = openSafetensors(FILE);
const cases: readonly RecordedRope[] = JSON.parse(file.safetensors?.files[0]?.metadata?.cases ?? "[]");
const keys = new Set(file.tensors.keys());
file.close();

function specOf({ dims, rope }: RecordedRope): RopeSpec {
  const number = (field: string, otherwise?: number): number => {
    const value = rope[field] ?? otherwise;
    if (typeof value !== "number") throw new Error(`${field} of ${JSON.stringify(rope)}`);
    return value;
  };
  const base = { theta: number("rope_theta"), dims };
  const originalMaxPositions = number("original_max_position_embeddings", 0);
  switch (rope.rope_type) {
    case "default":
      return { kind: "default", ...base };
    case "linear":
      return { kind: "linear", ...base, factor: number("factor") };
    case "llama3":
      return {
        kind: "llama3",
        ...base,
        factor: number("factor"),
        lowFreqFactor: number("low_freq_factor"),
        highFreqFactor: number("high_freq_factor"),
        originalMaxPositions,
      };
    default:
      return {
        kind: "yarn",
        ...base,
        factor: number("factor"),
        betaFast: number("beta_fast", 32),
        betaSlow: number("beta_slow", 1),
        originalMaxPositions,
        truncate: rope.truncate !== false,
        ...(rope.mscale === undefined ? {} : { mscale: number("mscale"), mscaleAllDim: number("mscale_all_dim") }),
      };
  }
}

/** Distance in units of the last place of f32. */
function ulps(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(found.length).toBe(expected.length);
  const bits = (x: number) => new Int32Array(Float32Array.of(x).buffer)[0]!;
  return Math.max(0, ...Array.from(expected, (x, i) => Math.abs(bits(x) - bits(found[i]!))));
}

test("there are recorded cases of every kind", () => {
  expect(new Set(cases.map(({ rope }) => rope.rope_type))).toEqual(new Set(["default", "linear", "llama3", "yarn"]));
});

describe.each(cases.map((entry, i) => [JSON.stringify(entry.rope), i, entry] as const))("%s", (_, i, entry) => {
  test("frequencies and attention factor of transformers", () => {
    const { invFreq, attentionFactor } = transformersFrequencies(specOf(entry));
    // torch's powf is not rounded correctly: one value in a hundred is a unit off, and scaling may double that.
    expect(ulps(invFreq, recorded(FILE, `${i}.transformers`).values)).toBeLessThanOrEqual(2);
    expect(attentionFactor).toBeCloseTo(entry.attentionFactor, 15);
  });

  test.each(["ComplexRoPE", "CosSinRoPE"] as const)("table of torchtitan's %s", (rope) => {
    if (!keys.has(`${i}.${rope}.cos`)) {
      expect(() => torchtitanFrequencies(specOf(entry), rope)).toThrow(
        expect.objectContaining({ code: "ROPE_NOT_IN_TORCHTITAN" }),
      );
      return;
    }
    const cos = recorded(FILE, `${i}.${rope}.cos`);
    const sin = recorded(FILE, `${i}.${rope}.sin`);
    const positions = Array.from({ length: cos.shape[0]! }, (_, t) => t);
    const table = ropeTable(torchtitanFrequencies(specOf(entry), rope), positions);
    // Frequencies one unit off move an angle of 40 radians by 4e-6; a formula that is wrong moves it by far more.
    for (const [found, expected] of [
      [table.cos, cos.values],
      [table.sin, sin.values],
    ] as const) {
      const error = Math.max(...Array.from(expected, (x, at) => Math.abs(x - found[at]!)));
      expect(error).toBeLessThan(8e-6);
    }
  });
});

test("the attention factor multiplies cos and sin in f32", () => {
  const table = ropeTable({ invFreq: Float32Array.of(1, 0.5), attentionFactor: 1.1 }, [0, 3]);
  expect([...table.cos]).toEqual(
    [1, 1, Math.cos(3), Math.cos(1.5)].map((x) => Math.fround(Math.fround(x) * Math.fround(1.1))),
  );
  expect(table.sin[2]).toBe(Math.fround(Math.fround(Math.sin(3)) * Math.fround(1.1)));
});

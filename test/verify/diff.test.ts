import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { type Diff, diff } from "../../src/verify/diff.ts";
import { f32, flipped, readState, type State, writeDcp, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted } from "../helpers/converted.ts";
import { fixture, tableCases } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

async function differences(a: string, b: string, config?: string): Promise<Diff> {
  const [left, right] = [openCheckpoint(a), openCheckpoint(b)];
  try {
    return await diff(left, right, { a: { adapters, config }, b: { adapters, config } });
  } finally {
    left.close();
    right.close();
  }
}

const split = fixture("llama3/split");
const config = join(split.hf, "config.json");

describe.each(tableCases)("$name", ({ natives, hfs, hf }) => {
  const [first, ...others] = [...Object.values(natives), ...Object.values(hfs)];
  it.each(others)("equals %s", async (other) => {
    const result = await differences(first!, other, hf);
    expect(result.differences).toEqual([]);
    expect(result.verdict).toBe("pass");
    expect(result.tensors).toBeGreaterThan(0);
  });
});

describe("what must be found", () => {
  const changed = (change: (state: State) => void): string => {
    const state = readState(split.hf);
    change(state);
    return writeSafetensors(join(scratch(), "changed"), state, { config });
  };
  const key = "model.layers.1.self_attn.k_proj.weight";

  it.each<[string, string, (state: State) => void, RegExp]>([
    ["missing", "missing", (state) => state.delete(key), /F32 \[20, 54\] in a, nothing in b/],
    [
      "extra",
      "extra",
      (state) =>
        state.set(
          "more",
          f32([2], () => 1),
        ),
      /F32 \[2\] in b/,
    ],
    [
      "shape",
      "shape",
      (state) => state.set(key, { ...state.get(key)!, shape: [54, 20] }),
      /\[20, 54\] in a.*\[54, 20\] in b/,
    ],
    [
      "one bit",
      "values",
      (state) => state.set(key, flipped(state.get(key)!, 4 * 54)),
      /^1 of 1080 elements differ, first at \[1, 0\]/,
    ],
    [
      "a NaN",
      "values",
      (state) =>
        state.set(
          key,
          f32([20, 54], () => Number.NaN),
        ),
      /^1080 of 1080 .*NaN in b/,
    ],
  ])("same layout: %s", async (_, kind, change, detail) => {
    const result = await differences(split.hf, changed(change));
    expect(result.verdict).toBe("fail");
    expect(result.keys).toBe("hf");
    expect(result.differences).toEqual([
      { key: kind === "extra" ? "more" : key, kind, detail: expect.stringMatching(detail) },
    ]);
  });

  it.each<[string, string, (state: State) => void]>([
    ["missing", "missing", (state) => state.delete(key)],
    ["shape", "shape", (state) => state.set(key, { ...state.get(key)!, shape: [54, 20] })],
    [
      "extra",
      "extra",
      (state) =>
        state.set(
          "more",
          f32([2], () => 1),
        ),
    ],
    ["one bit", "values", (state) => state.set(key, flipped(state.get(key)!, 4 * 54))],
  ])("across layouts: %s", async (_, kind, change) => {
    const result = await differences(split.native, changed(change), config);
    expect(result.keys).toBe("hf");
    expect(result.differences.map((each) => [each.key, each.kind])).toEqual([[kind === "extra" ? "more" : key, kind]]);
  });

  it("tells dtypes from values", async () => {
    const directory = scratch();
    await converted(split.hf, join(directory, "bf16"), { to: "hf", dtype: ["bf16"] });
    await converted(join(directory, "bf16"), join(directory, "f32"), { to: "hf", dtype: ["f32"] });
    const exact = await differences(join(directory, "bf16"), join(directory, "f32"));
    expect(new Set(exact.differences.map(({ kind }) => kind))).toEqual(new Set(["dtype"]));
    expect(exact.differences[0]!.detail).toContain("the values are equal");
    const rounded = await differences(split.hf, join(directory, "bf16"));
    expect(new Set(rounded.differences.map(({ kind }) => kind))).toEqual(new Set(["dtype", "values"]));
  });

  it("finds q and k that were never permuted", async () => {
    const state = readState(split.native);
    const source = readState(split.hf);
    const q = "model.layers.0.self_attn.q_proj.weight";
    source.set(q, state.get("layers.0.attention.qkv_linear.wq.weight")!);
    const wrong = writeSafetensors(join(scratch(), "wrong"), source, { config });
    const result = await differences(split.native, wrong, config);
    expect(result.differences.map((each) => [each.key, each.kind])).toEqual([[q, "values"]]);
  });

  it("finds a stale alias on one side", async () => {
    const tied = fixture("llama3/fused-tied");
    const state = readState(tied.native);
    state.set("lm_head.weight", flipped(state.get("lm_head.weight")!));
    const stale = writeDcp(join(scratch(), "stale"), state);
    const result = await differences(stale, tied.hf, tied.hf);
    expect(result.differences).toEqual([
      { key: "lm_head.weight", kind: "tie", detail: expect.stringMatching(/^in a: .*should equal/) },
    ]);
  });

  it("compares what is of no known family by its keys", async () => {
    const write = (value: number) =>
      writeSafetensors(join(scratch(), "any"), new Map([["w", f32([3], (i) => (i === 2 ? value : i))]]));
    expect((await differences(write(2), write(2))).verdict).toBe("pass");
    const result = await differences(write(2), write(-2));
    expect(result.keys).toBe("raw");
    expect(result.differences[0]!.detail).toMatch(/first at \[2\]: 2 in a, -2 in b; largest difference 4/);
  });

  it("refuses two families, and two layouts without a config", async () => {
    const qwen = fixture("qwen3/split");
    await expect(differences(split.hf, qwen.hf)).rejects.toThrow(expect.objectContaining({ code: "FAMILY_MISMATCH" }));
    await expect(differences(split.native, split.hf)).rejects.toThrow(
      expect.objectContaining({ code: "CONFIG_MISSING" }),
    );
  });
});

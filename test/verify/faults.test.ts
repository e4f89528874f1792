// A badly damaged checkpoint: every fault is told, in one go, and what is whole is still looked at.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { openModel } from "../../src/model/model.ts";
import { diff } from "../../src/verify/diff.ts";
import { validate } from "../../src/verify/validate.ts";
import { tableOf } from "../../src/views/tables.ts";
import { f32, flipped, opened, readState, type State, writeDcp, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted } from "../helpers/converted.ts";
import { counts, reset } from "../helpers/counted-tables.ts";
import { encodedCases, fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

vi.mock("../../src/table/plan.ts", async (original) => {
  const { counting } = await import("../helpers/counted-tables.ts");
  return counting(await original());
});

beforeEach(reset);

const validation = (path: string, config?: string) =>
  opened(path, (checkpoint) => validate(openModel(checkpoint, { adapters, config })));

const differences = (a: string, b: string, config?: string) =>
  opened(a, (left) =>
    opened(b, async (right) => {
      const side = { adapters, config };
      return (await diff(left, right, { a: side, b: side })).differences;
    }),
  );

const brief = (found: readonly { readonly key: string; readonly kind: string }[]) =>
  found.map(({ key, kind }) => `${kind} ${key}`);

const moe = fixture("qwen3_moe/untied");
const shape = { num_hidden_layers: 6, num_local_experts: 24, mlp_only_layers: [], vocab_size: 8, hidden_size: 4 };
const sizes = { moe_intermediate_size: 3, head_dim: 4, num_attention_heads: 2, num_key_value_heads: 1 };

/** A Qwen3-MoE of six layers with 24 experts each: 488 tensors. */
function large(): { readonly state: State; readonly json: JsonObject } {
  const json = { ...JSON.parse(readFileSync(join(moe.hf, "config.json"), "utf8")), ...shape, ...sizes };
  const adapter = adapters.find(({ family }) => family === "qwen3_moe")!;
  const table = tableOf(adapter.open(json, "").layouts[0], new Map());
  const required = table.tensors("hf").filter(({ need }) => need === "required");
  return {
    state: new Map(
      required.map((each, t) => [
        each.key,
        f32(
          each.shape.map((size) => size ?? 1),
          (i) => (i + t) / 64,
        ),
      ]),
    ),
    json,
  };
}

function written(state: State, json: JsonObject): string {
  const path = writeSafetensors(join(scratch(), "damaged"), state);
  writeFileSync(join(path, "config.json"), JSON.stringify(json));
  return path;
}

describe("300 tensors missing, 50 misshapen, 20 of nobody", () => {
  function damaged() {
    const { state, json } = large();
    const experts = [...state.keys()].filter((key) => key.includes(".experts."));
    const missing = experts.slice(0, 300);
    const misshapen = experts.slice(300, 350);
    const unknown = Array.from({ length: 20 }, (_, i) => `stray.${i}.weight`);
    for (const key of missing) state.delete(key);
    for (const key of misshapen) state.set(key, { ...state.get(key)!, shape: [12] });
    for (const key of unknown)
      state.set(
        key,
        f32([2], () => 1),
      );
    return { path: written(state, json), whole: large(), missing, misshapen, unknown };
  }

  test("validate lists them all; the table is compiled once and planned once", async () => {
    const { path, missing, misshapen, unknown } = damaged();
    reset();
    const found = await validation(path);
    expect(new Set(brief(found.differences))).toEqual(
      new Set([
        ...missing.map((key) => `missing ${key}`),
        ...misshapen.map((key) => `shape ${key}`),
        ...unknown.map((key) => `extra ${key}`),
      ]),
    );
    expect(found.differences).toHaveLength(370);
    expect(counts).toEqual({ compiled: 1, toHf: 0, fromHf: 1 });
  });

  test("diff compiles a table and makes a plan a side", async () => {
    const { path, whole, missing, misshapen, unknown } = damaged();
    const native = join(scratch(), "native");
    await converted(written(whole.state, whole.json), native);
    reset();
    const found = await differences(native, path);
    expect(new Set(brief(found))).toEqual(
      new Set([
        ...missing.map((key) => `missing ${key}`),
        ...misshapen.map((key) => `shape ${key}`),
        ...unknown.map((key) => `extra ${key}`),
      ]),
    );
    expect(counts).toEqual({ compiled: 2, toHf: 1, fromHf: 1 });
  });
});

test("a missing tensor is no tensor of the first one's type", async () => {
  const { state, json } = large();
  const key = "model.layers.3.mlp.experts.7.up_proj.weight";
  state.delete(key);
  // All but one are BF16: what is missing is not F32 because the first is.
  const [first] = state.keys();
  for (const [t, [name, each]] of [...state].entries()) {
    if (name === first) continue;
    const bytes = new Uint8Array(each.bytes.length / 2).map((_, i) => (i % 2 === 0 ? i + t : 0x3f - (t >> 8)));
    state.set(name, { dtype: "BF16", shape: each.shape, bytes });
  }
  const { differences: found } = await validation(written(state, json));
  expect(brief(found)).toEqual([`missing ${key}`]);
});

test("a misshapen tensor is told under another spelling, too", async () => {
  const { hf, hfs } = fixture("kimi_k2_7/images");
  const state = readState(hfs["hf-saved"]!);
  const key = "language_model.model.blocks.1.mlp.experts.9.gate_proj.weight";
  state.set(key, { ...state.get(key)!, shape: [38, 14] });
  const { differences: found } = await validation(writeSafetensors(join(scratch(), "misshapen"), state), hf);
  expect(found).toEqual([{ key, kind: "shape", detail: "expected [14,38], found [38,14]" }]);
});

test("of encoded experts, one that is missing hides none of the others", async () => {
  const { hf, native } = encodedCases.find(({ name }) => name === "deepseek_v3/fp8")!;
  const path = join(scratch(), "fewer");
  const gone = "model.layers.1.mlp.experts.1.up_proj.weight";
  const state = readState(hf);
  state.delete(gone);
  state.delete(`${gone}_scale_inv`);
  const other = "model.layers.1.mlp.experts.2.up_proj.weight";
  state.set(other, flipped(state.get(other)!));
  const found = await differences(native, writeSafetensors(path, state, { config: join(hf, "config.json") }), hf);
  expect(brief(found).sort()).toEqual([`missing ${gone}`, `values ${other}`]);
});

describe("values", () => {
  test("every bias that would be lost", async () => {
    const state = readState(moe.native);
    const biases = [...state.keys()].filter((key) => /\.expert_bias(_E)?$/.test(key));
    expect(biases.length).toBeGreaterThan(1);
    for (const key of biases)
      state.set(
        key,
        f32(state.get(key)!.shape, (i) => i),
      );
    const { differences: found } = await validation(writeDcp(join(scratch(), "biased"), state), moe.hf);
    expect(brief(found)).toEqual(biases.map((key) => `dropped ${key}`));
    expect(found[0]!.detail).toMatch(/has no place on the other side .* and would be lost: 1$/);
  });
});

// Whether a merged model carries each delta once, lost it, or has it twice: by models that are made so.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { bytesOf } from "../../src/faults/edit.ts";
import type { Checkpoint } from "../../src/formats/checkpoint.ts";
import { mergeAdapters } from "../../src/merge/merge.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { mergeCheckDocument } from "../../src/report/views/merge/check-merge.ts";
import { checkMerge, type MergeCheck } from "../../src/verify/merge/check-merge.ts";
import { cast } from "../../src/views/cast.ts";
import { mapAsIs } from "../../src/views/mapping.ts";
import { run } from "../cli/command.ts";
import { f32, type State, type Stored, writeSafetensors } from "../helpers/checkpoints.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

const BASE = `${FIXTURES}qwen3/bf16/hf`;
const ADAPTER = `${FIXTURES}lora/qwen3-bf16/adapter`;
const Q = "model.layers.0.self_attn.q_proj.weight";
const V = "model.layers.1.self_attn.v_proj.weight";

const stateOf = (checkpoint: Checkpoint): State =>
  new Map(
    [...mapAsIs(checkpoint, undefined).source.tensors.values()].map(({ key, dtype, shape }) => [
      key,
      { dtype, shape, bytes: new Uint8Array(bytesOf(checkpoint, key)) },
    ]),
  );

function using<T>(checkpoint: Checkpoint, use: (checkpoint: Checkpoint) => T): T {
  try {
    return use(checkpoint);
  } finally {
    checkpoint.close();
  }
}

const base = using(openCheckpoint(BASE), stateOf);
const merged = using(mergeAdapters(openCheckpoint(BASE), [ADAPTER], { adapters }), stateOf);

/** The merged model with some tensors in place of its own. */
function made(change: (state: State) => void): string {
  const state = new Map(merged);
  change(state);
  return writeSafetensors(join(scratch(), "merged"), state, { config: join(BASE, "config.json") });
}

async function checked(path: string, adapter = ADAPTER, of = BASE): Promise<MergeCheck> {
  const [a, b] = [openCheckpoint(path), openCheckpoint(of)];
  try {
    return await checkMerge(a, b, [adapter], { base: { adapters }, merged: { adapters } });
  } finally {
    a.close();
    b.close();
  }
}

const singles = ({ bytes, dtype }: Stored): Float32Array =>
  new Float32Array((dtype === "BF16" ? cast(bytes, "BF16", "F32") : bytes.slice()).buffer);

/** W + k·(merged − W), rounded to the type of the base. */
function multiple(key: string, factor: number): Stored {
  const [w, m] = [singles(base.get(key)!), singles(merged.get(key)!)];
  const values = w.map((value, i) => value + factor * (m[i]! - value));
  return { ...base.get(key)!, bytes: cast(new Uint8Array(values.buffer), "F32", "BF16") };
}

const stateAt = ({ changes }: MergeCheck, key: string) => changes.find((each) => each.key === key);
const statuses = ({ checks }: MergeCheck) => checks.map(({ status }) => status);

describe("a merged model", () => {
  test("has every delta once, bit for bit, and all else as the base", async () => {
    const result = await checked(made(() => undefined));
    expect(result).toMatchObject({ verdict: "pass", differences: [] });
    expect(new Set(result.changes.map(({ state }) => state))).toEqual(new Set(["once"]));
    expect(result.changes).toHaveLength(15);
    expect(statuses(result)).toEqual(["passed", "passed", "passed", "passed"]);
  });

  test("in a wider type may have been rounded to that of the base on the way", async () => {
    const path = writeSafetensors(
      join(scratch(), "wide"),
      new Map(
        [...merged].map(([key, stored]) => [
          key,
          { ...stored, dtype: "F32" as const, bytes: cast(stored.bytes, "BF16", "F32") },
        ]),
      ),
      { config: join(BASE, "config.json") },
    );
    const result = await checked(path);
    // It was rounded to bf16 on the way: each is off by more than the last bit of f32, and not by more than that of bf16.
    expect(stateAt(result, Q)).toMatchObject({ state: "rounded" });
    expect(stateAt(result, "lm_head.weight")).toMatchObject({ state: "once" });
  });

  test.each<[string, number, string, string]>([
    ["lost", 0, "lost", "DELTA_LOST"],
    ["twice", 2, "twice", "DELTA_TWICE"],
    ["subtracted", -1, "subtracted", "DELTA_SCALED"],
    ["by half", 0.5, "scaled", "DELTA_SCALED"],
  ])("a delta that is in one tensor %s is told there, and nowhere else", async (_, factor, state, code) => {
    const result = await checked(made((own) => own.set(Q, multiple(Q, factor))));
    expect(result.verdict).toBe("fail");
    expect(stateAt(result, Q)?.state).toBe(state);
    expect(result.changes.filter(({ state }) => state !== "once").map(({ key }) => key)).toEqual([Q]);
    const { diagnoses = [] } = mergeCheckDocument(result);
    expect(diagnoses.map((each) => [each.code, each.places])).toEqual([[code, [Q]]]);
  });

  test("rounded once more on the way is in, and told so", async () => {
    const off = multiple(V, 1);
    off.bytes[0] = off.bytes[0]! ^ 1;
    const result = await checked(made((own) => own.set(V, off)));
    expect(stateAt(result, V)).toMatchObject({ state: "rounded" });
    expect(stateAt(result, V)?.factor).toBeCloseTo(1, 2);
    expect(result.verdict).toBe("pass");
  });

  // As BLAS adds where a matrix has few rows, and GPUs do; F32 shows it, as its last bit is that of the sum.
  test("of F32, with products added in another order, is in; and not where a value is further off", async () => {
    const q = Q.replace(/\.weight$/, "");
    const [out = 0, inner = 0] = base.get(Q)!.shape;
    const rank = 4;
    const b = Float32Array.from({ length: out * rank }, (_, i) => Math.fround(Math.sin(3 * i + 1)));
    const a = Float32Array.from({ length: rank * inner }, (_, i) => Math.fround(Math.cos(5 * i + 2)));
    const adapter = writeSafetensors(
      join(scratch(), "adapter"),
      new Map([
        [`base_model.model.${q}.lora_A.weight`, f32([rank, inner], (i) => a[i]!)],
        [`base_model.model.${q}.lora_B.weight`, f32([out, rank], (i) => b[i]!)],
      ]),
    );
    writeFileSync(join(adapter, "adapter_config.json"), '{"peft_type": "LORA", "r": 4, "lora_alpha": 6}');
    const wide = new Map(
      [...base].map(([key, stored]) => [key, f32(stored.shape, (i) => (key === Q ? 1e-3 : 1) * singles(stored)[i]!)]),
    );
    const config = { config: join(BASE, "config.json") };
    const of = writeSafetensors(join(scratch(), "base"), wide, config);
    const sums = (off: number): Stored => {
      const w = singles(wide.get(Q)!);
      return f32([out, inner], (i) => {
        let sum = 0;
        for (let k = rank - 1; k >= 0; k -= 1)
          sum = Math.fround(sum + Math.fround(b[Math.floor(i / inner) * rank + k]! * a[k * inner + (i % inner)]!));
        return Math.fround(w[i]! + Math.fround(1.5 * sum)) + (i === 7 ? off : 0);
      });
    };
    const stateOf = async (off: number) =>
      stateAt(
        await checked(
          writeSafetensors(join(scratch(), "merged"), new Map([...wide, [Q, sums(off)]]), config),
          join(adapter, "model.safetensors"),
          of,
        ),
        Q,
      );
    expect(await stateOf(0)).toMatchObject({ state: "rounded" });
    expect(await stateOf(1e-4)).toMatchObject({ state: "otherwise" });
  });

  test("with other values, another shape, or without a tensor is no merge of these", async () => {
    const { shape, bytes } = merged.get(Q)!;
    const result = await checked(
      made((own) => {
        own.set(Q, { dtype: "BF16", shape, bytes: new Uint8Array(bytes).reverse() });
        own.set("lm_head.weight", base.get("lm_head.weight")!);
        own.set("model.norm.weight", multiple("model.norm.weight", 0));
        own.set("model.layers.0.input_layernorm.weight", { ...base.get("model.norm.weight")! });
        own.delete(V);
      }),
    );
    expect(stateAt(result, Q)?.state).toBe("otherwise");
    expect(stateAt(result, V)?.state).toBe("missing");
    expect(stateAt(result, "lm_head.weight")?.state).toBe("lost");
    expect(result.differences.map(({ key, kind }) => [key, kind])).toEqual([
      ["model.layers.0.input_layernorm.weight", "values"],
    ]);
    expect(statuses(result)).toEqual(["failed", "failed", "failed", "passed"]);
  });

  test("of a delta that rounding leaves nothing of is not checked", async () => {
    const q = Q.replace(/\.weight$/, "");
    const [out = 0, inner = 0] = base.get(Q)!.shape;
    const tiny = new Map([
      [`base_model.model.${q}.lora_A.weight`, f32([2, inner], () => 1e-9)],
      [`base_model.model.${q}.lora_B.weight`, f32([out, 2], () => 1e-9)],
    ]);
    const folder = writeSafetensors(join(scratch(), "adapter"), tiny);
    writeFileSync(join(folder, "adapter_config.json"), '{"peft_type": "LORA", "r": 2, "lora_alpha": 2}');
    const result = await checked(BASE, join(folder, "model.safetensors"));
    expect(result.changes.map(({ state }) => state)).toEqual(["vanished"]);
    expect(statuses(result)).toEqual(["not checked", "passed", "not checked"]);
    expect(result.verdict).toBe("pass");
  });
});

describe("the command", () => {
  test("check MERGED --base BASE --merge-adapter ADAPTER: exit 0 and 1, and usage", async () => {
    const good = await run(
      "check",
      made(() => undefined),
      "--base",
      BASE,
      "--merge-adapter",
      ADAPTER,
      "--json",
    );
    expect([good.code, good.json.verdict]).toEqual([0, "pass"]);
    expect((await run("check", BASE, "--base", BASE, "--merge-adapter", ADAPTER, "--json")).code).toBe(1);
    expect((await run("check", BASE, "--base", BASE)).code).toBe(2);
    expect((await run("check", BASE, BASE, "--base", BASE, "--merge-adapter", ADAPTER)).code).toBe(2);
  });

  test("convert BASE OUT --merge-adapter ADAPTER: dry, then written, and never raw", async () => {
    const out = join(scratch(), "out");
    const dry = await run("convert", BASE, out, "--merge-adapter", ADAPTER, "--dry-run", "--json");
    expect([dry.code, dry.json.merged.tensors.length]).toEqual([0, 15]);
    const made = await run("convert", BASE, out, "--merge-adapter", ADAPTER, "--no-fsync", "--json");
    expect([made.code, made.json.to.layout, made.json.merged.adapters.length]).toEqual([0, "hf", 1]);
    expect(using(openCheckpoint(out), stateOf)).toEqual(merged);
    expect((await run("convert", BASE, `${out}2`, "--merge-adapter", ADAPTER, "--to", "raw")).code).toBe(2);
    expect((await run("convert", BASE, `${out}2`, "--merge-adapter", BASE)).code).toBe(3);
  });
});

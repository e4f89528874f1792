// Tensors that a family marks as critical keep their type when all weights are cast.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { planConversion } from "../../src/convert/plan.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { readState, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted, hashes } from "../helpers/converted.ts";
import { tableCases } from "../helpers/fixtures.ts";
import { nativeNames } from "../helpers/layouts.ts";
import { scratch } from "../helpers/scratch.ts";

/** Both sides of a model in F32. */
async function model(family: string): Promise<{ readonly native: string; readonly hf: string }> {
  const own = tableCases.filter((one) => one.family === family);
  // The first of its layouts that a trainer's checkpoint is in
  const layout = layoutsOf(family).find((name) => own.some((one) => one.layout === name))!;
  const { hf: source } = own.find((one) => one.layout === layout)!;
  const [hf, native] = [join(scratch(), "hf"), join(scratch(), "native")];
  await converted(source, hf, { to: "hf", dtype: ["*=f32"] });
  await converted(hf, native, { to: layout });
  return { native, hf };
}

/**
 * By family, what stays in F32 on the Hugging Face side. transformers 5.23.0 names the bias of DeepSeek-V3 (and so Kimi)
 * and the norms of gpt-oss in `_keep_in_fp32_modules`; the reasons for the others are in adapters/common/critical.ts.
 */
const CRITICAL: Readonly<Record<string, RegExp>> = {
  deepseek_v3: /\.mlp\.gate\.(weight|e_score_correction_bias)$/,
  glm4_moe: /\.mlp\.gate\.(weight|e_score_correction_bias)$/,
  gpt_oss: /\.mlp\.router\.(weight|bias)$|norm\.weight$/,
  "hf-dense": /^$/,
  kimi_k2_7: /\.mlp\.gate\.(weight|e_score_correction_bias)$/,
  llama3: /^$/,
  llama4: /\.feed_forward\.router\.weight$/,
  mixtral: /\.block_sparse_moe\.gate\.weight$/,
  muse_glimmer: /^$/,
  qwen3: /^$/,
  qwen3_5: /\.linear_attn\.(A_log|norm\.weight)$/,
  qwen3_5_moe: /\.linear_attn\.(A_log|norm\.weight)$|\.mlp\.gate\.weight$/,
  qwen3_moe: /\.mlp\.gate\.weight$/,
  qwen3_next: /\.linear_attn\.(A_log|norm\.weight)$|\.mlp\.gate\.weight$/,
  qwen3_vl: /^$/,
  qwen3_vl_moe: /\.mlp\.gate\.weight$/,
};

it("no family is left out", () => {
  expect(Object.keys(CRITICAL).sort()).toEqual(adapters.map(({ family }) => family).sort());
});

const layoutsOf = (family: string) => nativeNames(adapters.find((adapter) => adapter.family === family)!);

const dtypes = (path: string) => [...hashes(path)].map(([key, { dtype }]) => [key, dtype] as const);

describe.each(Object.entries(CRITICAL))("%s", (family, critical) => {
  it("to HF as bf16: the critical ones stay, are named with a reason, and all others are listed as casts", async () => {
    const target = join(scratch(), "out");
    const { kept, casts } = await converted((await model(family)).native, target, { dtype: ["bf16"] });
    for (const [key, dtype] of dtypes(target)) expect([key, dtype]).toEqual([key, critical.test(key) ? "F32" : "BF16"]);
    const keys = dtypes(target).map(([key]) => key);
    expect(kept.map(({ key }) => key).sort()).toEqual(keys.filter((key) => critical.test(key)).sort());
    for (const { dtype, reason } of kept) expect([dtype, reason.length > 10]).toEqual(["F32", true]);
    expect(casts.map(({ key }) => key).sort()).toEqual(keys.filter((key) => !critical.test(key)).sort());
    for (const { maxRelativeError } of casts) expect(maxRelativeError).toBeLessThanOrEqual(2 ** -8);
    const declared = JSON.parse(readFileSync(join(target, "config.json"), "utf8"));
    expect(declared.dtype ?? declared.torch_dtype).toBe("bfloat16");
  });

  it("to the native side, and from one native layout to another", async () => {
    const { native, hf } = await model(family);
    const target = join(scratch(), "native");
    const older = join(scratch(), "older");
    const { kept } = await converted(hf, target, { dtype: ["bf16"] });
    const count = dtypes(hf).filter(([key]) => critical.test(key)).length;
    expect(kept).toHaveLength(count);
    const layout = layoutsOf(family).find((name) => name.startsWith("torchtitan-"));
    if (layout === undefined) return;
    const again = await converted(native, older, { dtype: ["bf16"], to: layout });
    expect(again.kept).toHaveLength(count);
  });

  it("a glob that names them casts them", async () => {
    const target = join(scratch(), "out");
    const { kept } = await converted((await model(family)).native, target, { dtype: ["*=bf16"] });
    expect(kept).toEqual([]);
    expect(new Set(dtypes(target).map(([, dtype]) => dtype))).toEqual(new Set(["BF16"]));
  });
});

it("a cast that loses nothing includes them", async () => {
  const one = await model("deepseek_v3");
  const narrow = join(scratch(), "narrow");
  await converted(one.hf, narrow, { to: "hf", dtype: ["*=bf16"] });
  const wide = join(scratch(), "wide");
  const { kept } = await converted(narrow, wide, { dtype: ["f32"] });
  expect(kept).toEqual([]);
  expect(new Set(dtypes(wide).map(([, dtype]) => dtype))).toEqual(new Set(["F32"]));
});

it("a buffer of the native side stays within its layout", async () => {
  const one = await model("qwen3_moe");
  const target = join(scratch(), "out.safetensors");
  const { kept } = await converted(one.native, target, { to: "torchtitan", dtype: ["bf16"] });
  const biases = [...readState(one.native).keys()].filter((key) => key.endsWith(".expert_bias_E"));
  expect(biases.length).toBeGreaterThan(0);
  expect(kept.map(({ key }) => key)).toEqual(expect.arrayContaining(biases));
});

it("a model whose critical tensors alone are F32 is declared to be what the others are", async () => {
  const one = await model("deepseek_v3");
  const config = JSON.parse(readFileSync(join(one.hf, "config.json"), "utf8"));
  expect(config.dtype ?? config.torch_dtype).toBe("float32");
  const mixed = join(scratch(), "mixed");
  await converted(one.hf, mixed, { dtype: ["bf16"] });
  const source = writeSafetensors(join(scratch(), "source"), readState(mixed), { config: join(one.hf, "config.json") });
  const checkpoint = openCheckpoint(source);
  const plan = planConversion(checkpoint, undefined, { adapters });
  checkpoint.close();
  expect(plan.notes.join()).toContain("declares bfloat16");
});

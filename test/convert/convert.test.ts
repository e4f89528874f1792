// Conversions of what torchtitan and transformers wrote, against the hashes of what torchtitan itself makes of it.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { converted, hashes, sorted } from "../helpers/converted.ts";
import { tableCases } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

function expectSameFiles(a: string, b: string): void {
  expect(readdirSync(b).sort()).toEqual(readdirSync(a).sort());
  for (const name of readdirSync(a)) {
    expect(readFileSync(join(b, name)).equals(readFileSync(join(a, name))), name).toBe(true);
  }
}

/** Buffers that upstream's from_hf leaves to the model: made again here, as torchtitan's strict load asks for them. */
const isBuffer = ([key]: readonly [string, unknown]) => /\.(?:moe|mlp)\.expert_bias(_E)?$/.test(key);

/** Kimi-VL spells the projector in its own way, which only a record can tell of a native checkpoint. */
const asWithoutRecord = <T>([key, hash]: readonly [string, T]): [string, T] => [
  key.replace(
    /^multi_modal_projector\.(linear_(\d))?/,
    (_, linear, i) => `mm_projector.${linear ? `proj.${2 * i - 2}` : ""}`,
  ),
  hash,
];

/**
 * Megatron-Core's two names of a norm in one layer: the local spec asks for one, Transformer Engine's for the other. The norm
 * after attention has both before experts or after latent attention, but one where both hold.
 */
const BOTH_NAMES = [
  ["pre_mlp_layernorm.weight", "mlp.linear_fc1.layer_norm_weight"],
  ["self_attention.q_layernorm.weight", "self_attention.linear_q_up_proj.layer_norm_weight"],
  ["self_attention.kv_layernorm.weight", "self_attention.linear_kv_up_proj.layer_norm_weight"],
] as const;

/** Qwen3-Next, and what Megatron Bridge's own models of Qwen3-VL and Qwen3.5 are built of: no local spec has their layers. */
const TRANSFORMER_ENGINE_ALONE = /^(?:qwen3_next|qwen3_vl|qwen3_5)(?:_moe)?$/;

/** What is written of a model that has no record: both names, where upstream's file has those of the local spec. */
function underBothNames<T>(upstream: ReadonlyMap<string, T>): Map<string, T> {
  const all = new Map(upstream);
  for (const [key, value] of upstream) {
    const [, layer, name] = /^(.*\blayers\.(?:\d+\.)?(?:transformer_layer\.)?)(.+)$/.exec(key) ?? [];
    const pair = BOTH_NAMES.find((names) => names.some((each) => each === name));
    if (layer === undefined || pair === undefined) continue;
    const isLatent = upstream.has(`${layer}self_attention.linear_kv_down_proj.weight`);
    const hasExperts = upstream.has(`${layer}mlp.router.weight`);
    const hasBoth = pair === BOTH_NAMES[0] ? isLatent !== hasExperts : isLatent;
    if (hasBoth) for (const each of pair) all.set(`${layer}${each}`, value);
  }
  return all;
}

describe.each(tableCases)("$name", (one) => {
  const hasTwoSpecs = one.layout === "megatron" && !TRANSFORMER_ENGINE_ALONE.test(one.family);
  const written = hasTwoSpecs ? underBothNames(one.fromHf) : one.fromHf;
  const mapped = (native: string) =>
    new Map([...hashes(native)].filter((tensor) => written.has(tensor[0]) || !isBuffer(tensor)));

  it.each(Object.entries(one.natives))("%s → hf is what torchtitan's to_hf makes", async (_, native) => {
    const target = join(scratch(), "hf");
    await converted(native, target, { config: one.hf });
    expect(sorted(hashes(target))).toEqual(sorted(new Map([...one.toHf].map(asWithoutRecord))));
    expect(readFileSync(join(target, "config.json"), "utf8")).toBe(readFileSync(join(one.hf, "config.json"), "utf8"));
  });

  it.each(Object.entries(one.hfs))("%s → native is what torchtitan's from_hf makes", async (_, hf) => {
    const target = join(scratch(), "native");
    await converted(hf, target, { to: one.layout });
    expect(sorted(mapped(target))).toEqual(sorted(written));
    const buffers = [...hashes(target)].filter(isBuffer);
    expect(buffers.map(([key]) => key).sort()).toEqual(
      [...hashes(one.native)]
        .filter(isBuffer)
        .map(([key]) => key)
        .sort(),
    );
    expect(buffers.every(([, { dtype }]) => dtype === "F32")).toBe(true);
  });

  it.each(Object.entries(one.hfs))("%s → native → hf gives the same files", async (_, hf) => {
    const directory = scratch();
    // The default target is torchtitan, which has no place for all that GLM-4.5's files hold.
    await converted(hf, join(directory, "native"), { to: one.layout });
    await converted(join(directory, "native"), join(directory, "hf"));
    expectSameFiles(hf, join(directory, "hf"));
  });

  it.each(Object.entries(one.natives))("%s → hf → native gives the same bits", async (_, native) => {
    const directory = scratch();
    await converted(native, join(directory, "hf"), { config: one.hf });
    await converted(join(directory, "hf"), join(directory, "native"), { to: one.layout });
    const model = [...hashes(native)].filter(([key]) => one.fromHf.has(key));
    // Of a file in another form, stacked layers or today's tower come back: what upstream makes of the same weights is the measure.
    const isSameForm = model.length === one.fromHf.size;
    expect(isSameForm || /-(?:apart|by-layer|0\.3)$/.test(native)).toBe(true);
    const same = isSameForm ? new Map(model) : one.fromHf;
    expect(sorted(mapped(join(directory, "native")))).toEqual(sorted(hasTwoSpecs ? underBothNames(same) : same));
  });
});

import { transformersFrequencies } from "../../numerics/rope.ts";
import { defineFamily } from "../../src/family/define.ts";
import { known } from "../common/known.ts";
import { fused, type Spelling, TORCHTITAN, torchtitanRows } from "../trainers/torchtitan.ts";
import { type Llama4Config, parseLlama4Config } from "./config.ts";
import { hfForward } from "./hf.ts";
import { llama4Axes, llama4Rules } from "./mapping.ts";
import { llama4HfConfig, parseLlama4Args } from "./model-args.ts";
import { nativeDifferences, nativeForward } from "./native.ts";

/** A config that has every kind of key: layers differ only in their indices. */
const TEXT = { num_hidden_layers: 2, interleave_moe_layer_step: 2 };
const ALL_MOE = { num_hidden_layers: 1 };

type Llama4Spelling = Spelling & { readonly alwaysChunked: boolean };

const row = torchtitanRows<Llama4Config, Llama4Spelling>({
  rules: llama4Rules,
  graph: nativeForward,
  differences: nativeDifferences,
});
/** After 0.2, layers with RoPE are chunked even where every layer has RoPE. */
const QKV_LINEAR = { ...TORCHTITAN["2026-04-16"], alwaysChunked: true };
const LM_HEAD = { ...TORCHTITAN["2026-04-27"], alwaysChunked: true };
const NAMED_AXES = { ...TORCHTITAN["2026-05-27"], alwaysChunked: true };
/** When torchtitan removed the family. */
const REMOVED = "2026-06-08";

export const llama4 = defineFamily({
  family: "llama4",
  modelTypes: ["llama4", "llama4_text"],
  flavours: [
    "moe",
    "dense layers between",
    "shared expert",
    "chunked attention",
    "NoPE layers",
    "grouped-query",
    "tied",
  ],
  modalities: ["text"],
  known: known("ATTENTION_TEMPERATURE", "CHUNKED_LAYERS", "NOPE_LAYERS", "QK_NORM"),
  sources: [
    "https://github.com/pytorch/torchtitan/blob/43e52fd017ce/torchtitan/models/llama4/state_dict_adapter.py",
    "https://github.com/pytorch/torchtitan/blob/v0.2.2/torchtitan/models/llama4/model/state_dict_adapter.py",
    "https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/llama4/modeling_llama4.py",
  ],
  probes: [TEXT, ALL_MOE].flatMap((text) =>
    [{}, { tie_word_embeddings: true }, { attention_bias: true }].map((fields) => ({
      model_type: "llama4",
      text_config: { ...text, ...fields },
    })),
  ),
  parse(json, where) {
    const parse = json.model_type === undefined ? parseLlama4Args : parseLlama4Config;
    return parse(json, where);
  },
  facts: (config) => ({ ...config, longOnly: () => longOnly(config) }),
  axes: llama4Axes,
  math: mathOf,
  hfConfig: (config, json) => (json.model_type === undefined ? llama4HfConfig(config) : json),
  hf: { graph: hfForward },
  layouts: [
    row("torchtitan", NAMED_AXES, REMOVED),
    row("torchtitan-fused", fused(NAMED_AXES), REMOVED),
    row("torchtitan-2026-04-27", LM_HEAD, "2026-05-27"),
    row("torchtitan-2026-04-27-fused", fused(LM_HEAD), "2026-05-27"),
    row("torchtitan-2026-04-16", QKV_LINEAR, "2026-04-27"),
    row("torchtitan-2026-04-16-fused", fused(QKV_LINEAR), "2026-04-27"),
    row("torchtitan-0.2", { ...TORCHTITAN["0.2.0"], alwaysChunked: false }, "2026-04-16"),
  ],
});

function longOnly({ temperature }: Llama4Config) {
  if (temperature === null) return [];
  const { floor } = temperature;
  return [{ what: `the temperature of queries from position ${floor} on`, tokens: floor - 1 }];
}

function mathOf(config: Llama4Config) {
  const { rope, dtype: _, sees: __, chunkedLayers, chunkSize, temperature, ...sizes } = config;
  const { invFreq, attentionFactor } = transformersFrequencies(rope);
  return {
    ...sizes,
    activation: "silu",
    routerScore: "sigmoid of the chosen logits, on the experts' input",
    chunkedLayers,
    /** 0 where no layer is chunked. */
    chunkSize: chunkedLayers.length > 0 ? chunkSize : 0,
    /** 0 for none. */
    temperatureFloor: temperature?.floor ?? 0,
    temperatureScale: temperature?.scale ?? 0,
    /** Of the norm of queries and keys after RoPE, which has no weights; 0 for none. */
    qkNormEps: config.qkNorm ? config.normEps : 0,
    attentionScale: config.headDim ** -0.5,
    invFreq: [...invFreq],
    ropeAttentionFactor: attentionFactor,
  };
}

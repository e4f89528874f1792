// Config of dense Qwen3: HF's Qwen3Config, torchtitan's Qwen3Model.Config and its older Qwen3ModelArgs.
//   huggingface/transformers@v5.23.0:src/transformers/models/qwen3/configuration_qwen3.py
//   pytorch/torchtitan@v0.2.2:torchtitan/models/qwen3/model/args.py
import type { RopeSpec } from "../../numerics/rope.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { ConfigReader } from "../common/config-reader.ts";
import { checkHeads, parseHfDtype } from "../common/heads.ts";
import { hfRopeParameters, parseHfRope } from "../common/rope-config.ts";
import { isNestedConfig, parseTorchtitanDecoder, torchtitanModel } from "../trainers/torchtitan-config.ts";

/** Sizes in elements, lengths in tokens. */
export interface Qwen3Config {
  readonly nLayers: number;
  readonly vocabSize: number;
  readonly dim: number;
  readonly ffnDim: number;
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  readonly normEps: number;
  /** The output head is the embedding. */
  readonly tied: boolean;
  readonly rope: RopeSpec;
  /** Biases of q, k, v and o. */
  readonly attentionBias: boolean;
  readonly maxPositions: number;
  /** Per layer: how many tokens a position sees, itself included; null where it sees all before it. */
  readonly windows: readonly (number | null)[];
  /** As HF spells it (`bfloat16`); null where the config is silent. */
  readonly dtype: string | null;
}

/** Throws InputError INVALID_CONFIG or CONFIG_UNSUPPORTED naming the field. */
export function parseQwen3Config(json: JsonObject, where: string): Qwen3Config {
  const parse = json.model_type !== undefined ? parseHf : parseTorchtitan;
  return checkHeads(parse(json, where), where);
}

/** Defaults are those of Qwen3Config. */
function parseHf(json: JsonObject, where: string): Qwen3Config {
  const config = new ConfigReader(json, where);
  config.only("model_type", "qwen3", "is another family");
  config.onlyActivation("hidden_act", "silu");
  const nLayers = config.layers("num_hidden_layers", 32);
  const nHeads = config.size("num_attention_heads", 32);
  const headDim = config.size("head_dim", 128);
  const maxPositions = config.size("max_position_embeddings", 32_768);
  return {
    nLayers,
    vocabSize: config.size("vocab_size", 151_936),
    dim: config.size("hidden_size", 4096),
    ffnDim: config.size("intermediate_size", 22_016),
    nHeads,
    nKvHeads: json.num_key_value_heads === null ? nHeads : config.size("num_key_value_heads", 32),
    headDim,
    normEps: config.number("rms_norm_eps", 1e-6),
    tied: config.boolean("tie_word_embeddings", false),
    rope: parseHfRope(config, headDim, maxPositions),
    attentionBias: config.boolean("attention_bias", false),
    maxPositions,
    windows: parseWindows(config, nLayers),
    dtype: parseHfDtype(config),
  };
}

/** `layer_types`, or what Qwen3Config makes of `max_window_layers`; `sliding_window` counts only if it is used. */
function parseWindows(config: ConfigReader, nLayers: number): (number | null)[] {
  const inUse = config.boolean("use_sliding_window", false);
  const window = !inUse ? null : config.isNull("sliding_window") ? null : config.size("sliding_window", 4096);
  if (!config.has("layer_types")) {
    const first = config.count("max_window_layers", 28);
    return Array.from({ length: nLayers }, (_, i) => (i >= first ? window : null));
  }
  const types = config.list("layer_types");
  if (types.length !== nLayers) config.fail("layer_types", `a list of ${nLayers} layers`);
  return types.map((type) => {
    if (type === "full_attention") return null;
    if (type !== "sliding_attention") config.fail("layer_types", "full_attention or sliding_attention throughout");
    return window ?? config.fail("layer_types", "full_attention throughout, as no sliding window is in use");
  });
}

function parseTorchtitan(json: JsonObject, where: string): Qwen3Config {
  const model = torchtitanModel(json);
  if (!isNestedConfig(model)) return parseModelArgs(model, where);
  const { qkNorm, mlpBias, ...decoder } = parseTorchtitanDecoder(model, where);
  const reader = new ConfigReader(model, where);
  if (!qkNorm) reader.fail("layers", "with qk_norm");
  if (mlpBias) reader.fail("layers", "without biases of w1, w2, w3, which Qwen3Config has no place for");
  return { ...decoder, windows: noWindows(decoder.nLayers), dtype: null };
}

function parseModelArgs(json: JsonObject, where: string): Qwen3Config {
  const args = new ConfigReader(json, where);
  args.only("moe_enabled", false, "makes this another family");
  args.only("qk_norm", true, "has no place on the Hugging Face side");
  const nLayers = args.layers("n_layers", 28);
  const headDim = args.size("head_dim", 128);
  return {
    nLayers,
    vocabSize: args.size("vocab_size", 151_936),
    dim: args.size("dim", 1024),
    ffnDim: args.size("hidden_dim", 3072),
    nHeads: args.size("n_heads", 16),
    nKvHeads: args.size("n_kv_heads", 8),
    headDim,
    normEps: args.number("norm_eps", 1e-6),
    tied: args.boolean("enable_weight_tying", false),
    rope: { kind: "default", theta: args.number("rope_theta", 1_000_000), dims: headDim },
    attentionBias: false,
    maxPositions: args.size("max_seq_len", 4096),
    windows: noWindows(nLayers),
    dtype: null,
  };
}

const noWindows = (nLayers: number): null[] => Array.from({ length: nLayers }, () => null);

/** config.json in v5 spelling. */
export function qwen3HfConfig(config: Qwen3Config): JsonObject {
  const window = config.windows.find((size) => size !== null) ?? null;
  return {
    architectures: ["Qwen3ForCausalLM"],
    model_type: "qwen3",
    vocab_size: config.vocabSize,
    hidden_size: config.dim,
    intermediate_size: config.ffnDim,
    num_hidden_layers: config.nLayers,
    num_attention_heads: config.nHeads,
    num_key_value_heads: config.nKvHeads,
    head_dim: config.headDim,
    hidden_act: "silu",
    max_position_embeddings: config.maxPositions,
    rms_norm_eps: config.normEps,
    rope_parameters: hfRopeParameters(config.rope),
    tie_word_embeddings: config.tied,
    attention_bias: config.attentionBias,
    use_sliding_window: window !== null,
    sliding_window: window,
    layer_types: config.windows.map((size) => (size === null ? "full_attention" : "sliding_attention")),
    ...(config.dtype === null ? {} : { dtype: config.dtype }),
  };
}

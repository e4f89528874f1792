// RoPE as configs spell it: HF v4 (`rope_theta`, `rope_scaling`), HF v5 (`rope_parameters`), torchtitan's `rope`.
import type { RopeSpec } from "../../numerics/rope.ts";
import type { JsonObject } from "../../src/base/json.ts";
import type { ConfigReader } from "./config-reader.ts";

/** `default_theta` of transformers' RotaryEmbeddingConfigMixin. */
const DEFAULT_THETA = 10_000;

const UNKNOWN_TYPE = "has no graph here";

/**
 * RoPE of an HF config whose heads are rotated whole. Precedence as in
 * huggingface/transformers@v5.23.0:src/transformers/modeling_rope_utils.py, `convert_rope_params_to_dict`.
 * Throws InputError INVALID_CONFIG or CONFIG_UNSUPPORTED naming the field.
 */
export function parseHfRope(
  config: ConfigReader,
  headDim: number,
  maxPositions: number,
  defaultTheta = DEFAULT_THETA,
): RopeSpec {
  const rope = hfRopeObject(config);
  config.only("partial_rotary_factor", 1, "rotates a part of each head");
  rope.only("partial_rotary_factor", 1, "rotates a part of each head");
  return parseRope(config, rope, headDim, maxPositions, defaultTheta);
}

/** The same where a part of each head is rotated, its first ⌊headDim · partial_rotary_factor⌋ channels. */
export function parseHfPartialRope(
  config: ConfigReader,
  headDim: number,
  maxPositions: number,
  defaultFactor: number,
): RopeSpec {
  const rope = hfRopeObject(config);
  const reader = rope.has("partial_rotary_factor") ? rope : config;
  const dims = Math.floor(headDim * reader.number("partial_rotary_factor", defaultFactor));
  if (dims > headDim || dims < 2 || dims % 2 !== 0)
    reader.fail("partial_rotary_factor", `a part of a head of ${headDim} channels that makes pairs`);
  return parseRope(config, rope, dims, maxPositions, DEFAULT_THETA);
}

/**
 * Reads RoPE from one object. `config` has the fields that v4 keeps outside it; `dims` is the number of rotated
 * channels per head.
 */
export function parseRope(
  config: ConfigReader,
  rope: ConfigReader,
  dims: number,
  maxPositions: number,
  defaultTheta: number,
): RopeSpec {
  const theta = rope.has("rope_theta") ? rope.number("rope_theta") : config.number("rope_theta", defaultTheta);
  const base = { theta, dims };
  const typeField = rope.has("rope_type") ? "rope_type" : "type";
  const kind = rope.string(typeField, "default");
  switch (kind) {
    case "default":
      return { kind, ...base };
    case "linear":
      return { kind, ...base, factor: rope.number("factor") };
    case "llama3":
      return {
        kind,
        ...base,
        factor: rope.number("factor"),
        lowFreqFactor: rope.number("low_freq_factor"),
        highFreqFactor: rope.number("high_freq_factor"),
        originalMaxPositions: rope.size("original_max_position_embeddings", maxPositions),
      };
    case "yarn":
      return { kind, ...base, ...parseYarn(rope, maxPositions) };
    default:
      return rope.unsupported(typeField, "default, linear, llama3 or yarn", UNKNOWN_TYPE);
  }
}

/** `rope_scaling`, where it is not empty, takes the place of `rope_parameters`. */
export function hfRopeObject(config: ConfigReader): ConfigReader {
  for (const name of ["rope_scaling", "rope_parameters"]) {
    if (!config.has(name)) continue;
    const rope = config.object(name);
    for (const layerType of ["full_attention", "sliding_attention"])
      if (rope.has(layerType))
        rope.unsupported(layerType, "one RoPE for all layers", "is a RoPE of its own for some layers");
    if (name === "rope_parameters" || !rope.isEmpty()) return rope;
  }
  return config.empty("rope_parameters");
}

function parseYarn(rope: ConfigReader, maxPositions: number) {
  const originalMaxPositions = rope.size("original_max_position_embeddings", maxPositions);
  const attentionFactor = rope.optional("attention_factor", rope.number);
  // Some files have 0. transformers tests whether they are truthy, so 0 means absent.
  const [mscale, mscaleAllDim] = ["mscale", "mscale_all_dim"].map((name) =>
    rope.isZero(name) ? null : rope.optional(name, rope.number),
  );
  return {
    factor: rope.has("factor") ? rope.number("factor") : maxPositions / originalMaxPositions,
    originalMaxPositions,
    betaFast: rope.optional("beta_fast", rope.number) ?? 32,
    betaSlow: rope.optional("beta_slow", rope.number) ?? 1,
    truncate: rope.boolean("truncate", true),
    ...(attentionFactor === null ? {} : { attentionFactor }),
    ...(mscale ? { mscale } : {}),
    ...(mscaleAllDim ? { mscaleAllDim } : {}),
  };
}

/** `rope_parameters` of a v5 config. */
export function hfRopeParameters(rope: RopeSpec): JsonObject {
  const base = { rope_type: rope.kind, rope_theta: rope.theta };
  switch (rope.kind) {
    case "default":
      return base;
    case "linear":
      return { ...base, factor: rope.factor };
    case "llama3":
      return {
        ...base,
        factor: rope.factor,
        low_freq_factor: rope.lowFreqFactor,
        high_freq_factor: rope.highFreqFactor,
        original_max_position_embeddings: rope.originalMaxPositions,
      };
    case "yarn":
      return {
        ...base,
        factor: rope.factor,
        original_max_position_embeddings: rope.originalMaxPositions,
        beta_fast: rope.betaFast,
        beta_slow: rope.betaSlow,
        truncate: rope.truncate,
        ...(rope.attentionFactor === undefined ? {} : { attention_factor: rope.attentionFactor }),
        ...(rope.mscale === undefined ? {} : { mscale: rope.mscale }),
        ...(rope.mscaleAllDim === undefined ? {} : { mscale_all_dim: rope.mscaleAllDim }),
      };
    default:
      throw rope satisfies never;
  }
}

/**
 * RoPE.Config of pytorch/torchtitan@v0.3.0:torchtitan/models/common/rope.py. Its YaRN leaves cos and sin unscaled, which
 * HF spells as an attention factor of 1.
 */
export function parseTorchtitanRope(rope: ConfigReader): RopeSpec {
  const base = { theta: rope.number("theta", DEFAULT_THETA), dims: rope.size("dim") };
  const scaling = rope.string("scaling", "none");
  switch (scaling) {
    case "none":
      return { kind: "default", ...base };
    case "llama":
      return { kind: "llama3", ...base, ...parseTorchtitanScaling(rope) };
    case "yarn": {
      const factor = rope.number("rope_factor", 1);
      if (factor <= 1) return { kind: "default", ...base };
      return {
        kind: "yarn",
        ...base,
        factor,
        originalMaxPositions: rope.size("original_seq_len", 4096),
        betaFast: rope.number("beta_fast", 32),
        betaSlow: rope.number("beta_slow", 1),
        truncate: rope.boolean("truncate", true),
        attentionFactor: 1,
      };
    }
    default:
      return rope.unsupported("scaling", "none, llama or yarn", UNKNOWN_TYPE);
  }
}

/** The fields of Llama 3's scaling, with the defaults that RoPE.Config and 0.2.2's RoPEScalingArgs share. */
export const parseTorchtitanScaling = (scaling: ConfigReader) => ({
  factor: scaling.number("scaling_factor", 8),
  lowFreqFactor: scaling.number("low_freq_factor", 1),
  highFreqFactor: scaling.number("high_freq_factor", 4),
  originalMaxPositions: scaling.size("original_max_position_embeddings", 8192),
});

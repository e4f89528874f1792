// From a config to the mathematics, by the traits of its architecture.
import { InputError } from "../../src/base/errors.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { ConfigReader } from "../common/config-reader.ts";
import { checkHeads } from "../common/heads.ts";
import type { Activation, Attention, Decoder, Latent, Layer, Mlp, Norm, NormPlaces, QkNorm } from "./decoder.ts";
import { parseLayers } from "./layers-config.ts";
import { TRAITS } from "./traits/by-model.ts";
import type { Traits } from "./traits/traits.ts";
import { checkUnread } from "./unread.ts";

/** Epsilon of the latents' norms. transformers builds these norms without `rms_norm_eps`. */
const LATENT_EPS = 1e-6;

/**
 * What the model of a config computes.
 * @throws InputError NO_GRAPH for an architecture that is not in traits.ts; CONFIG_UNSUPPORTED or INVALID_CONFIG naming the
 * field that is not understood
 */
export function parseDecoder(json: JsonObject, where: string, isTied: boolean): Decoder {
  const config = new ConfigReader(json, where);
  const modelType = config.string("model_type");
  const traits = TRAITS.get(modelType);
  if (traits === undefined) {
    throw new InputError("NO_GRAPH", `hf-dense: there is no forward graph of ${modelType}`, {
      expected: "an architecture with a graph (see docs/decisions/005-hf-dense.md)",
      found: modelType,
      help: "use `roundtrip`, `diff` and `validate`, which need no graph",
    });
  }
  config.only("use_bidirectional_attention", false, "lets tokens see those after them: there is no such graph here");
  checkUnread(config, traits, modelType);
  const dim = config.size("hidden_size");
  const nHeads = config.size("num_attention_heads");
  const latent = traits.latent === null ? null : parseLatent(config, dim / nHeads);
  const headDim = latent === null ? parseHeadDim(config, traits, dim / nHeads) : latent.nopeDim + latent.ropeDim;
  const rotated = latent === null ? headDim : latent.ropeDim;
  const { layers, rope, growth } = parseLayers(config, traits, rotated);
  const norm = parseNorm(config, traits);
  const attention: Attention = {
    nHeads,
    nKvHeads: latent === null ? parseKvHeads(config, traits, nHeads) : nHeads,
    headDim,
    projections: traits.projections,
    output: traits.output,
    qkvBias: flag(config, traits.qkvBias),
    outputBias: flag(config, traits.outputBias),
    clip: traits.clip ? config.optional("clip_qkv", config.number) : null,
    qkNorm: parseQkNorm(config, traits, norm),
    latent,
    scale: parseScale(config, traits, headDim) * (latent === null ? 1 : latentScale(rope)),
    softcap: softcap(config, "attn_logit_softcapping", traits.attentionSoftcap),
    sinks: traits.sinks,
    subNorm: traits.attentionSubNorm,
    differential: traits.differential,
    dynamicMask: traits.dynamicMask ? { keepWindow: config.size("keep_window_size", 2048) } : null,
    growth,
  };
  checkHeads({ ...attention, headDim: rotated }, where);
  return {
    layers,
    dim,
    tied: isTied,
    embedScale: parseEmbedScale(config, traits, dim),
    embedNorm: traits.embedNorm,
    norm,
    places: parsePlaces(config, traits),
    parallel: flag(config, traits.parallel),
    residualScale: parseResidualScale(config, traits, layers.length),
    residualWeights: traits.residualWeights,
    attention,
    scalesByContext: scalesByContext(rope, layers),
    rotation: { pairs: parsePairs(config, traits), minus: traits.minus },
    mlp: parseMlp(config, traits),
    finalNorm: traits.finalNorm,
    headBias: traits.headBias,
    logits: {
      scale: parseLogitScale(config, traits, dim),
      softcap: softcap(config, "final_logit_softcapping", traits.finalSoftcap),
    },
  };
}

const flag = (config: ConfigReader, value: boolean | readonly [string, boolean]): boolean =>
  typeof value === "boolean" ? value : config.has(value[0]) ? config.boolean(value[0]) : value[1];

const numberOr = <T extends number | null>(
  config: ConfigReader,
  [name, byDefault]: readonly [string, T],
): number | T => (config.has(name) ? config.number(name) : byDefault);

/**
 * Null in the config switches the cap off. An absent field has the class's default; `undefined` means the class has no
 * cap.
 */
function softcap(config: ConfigReader, name: string, byDefault: number | null | undefined): number | null {
  if (byDefault === undefined || config.isNull(name)) return null;
  return config.has(name) ? config.number(name) : byDefault;
}

function parseHeadDim(config: ConfigReader, traits: Traits, share: number): number {
  const derived = () => (Number.isInteger(share) ? share : config.fail("hidden_size", "divisible among the heads"));
  if (!traits.headDimIsFixed) return config.has("head_dim") ? config.size("head_dim") : (traits.headDim ?? derived());
  config.only("head_dim", derived(), `transformers' ${traits.file} does not read: its heads share hidden_size`);
  return derived();
}

function parseKvHeads(config: ConfigReader, traits: Traits, nHeads: number): number {
  if (traits.projections === "perHead") return nHeads;
  if (config.has("num_key_value_heads")) return config.size("num_key_value_heads");
  return config.isNull("num_key_value_heads") ? nHeads : (traits.kvHeads ?? nHeads);
}

function parseLatent(config: ConfigReader, share: number): Latent {
  const isMiniCpm = config.string("model_type") === "minicpm3";
  const qRank = config.isNull("q_lora_rank") ? null : config.size("q_lora_rank", isMiniCpm ? 768 : 1536);
  const valueDim = config.has("v_head_dim") ? config.size("v_head_dim") : isMiniCpm ? share : 128;
  return {
    qRank,
    kvRank: config.size("kv_lora_rank", isMiniCpm ? 256 : 512),
    nopeDim: config.size("qk_nope_head_dim", isMiniCpm ? 64 : 128),
    ropeDim: config.size("qk_rope_head_dim", isMiniCpm ? 32 : 64),
    valueDim,
    eps: LATENT_EPS,
  };
}

/** `yarn_apply_mscale` */
function latentScale(rope: ConfigReader): number {
  if (rope.string("rope_type", rope.string("type", "default")) === "default" || !rope.has("mscale_all_dim")) return 1;
  const factor = rope.number("factor");
  return factor <= 1 ? 1 : (0.1 * rope.number("mscale_all_dim") * Math.log(factor) + 1) ** 2;
}

/** Whether max_position_embeddings scales cos and sin. LongRoPE scales nothing at the original length or below. */
function scalesByContext(rope: ConfigReader, [first]: readonly Layer[]): boolean {
  const kind = rope.string("rope_type", rope.string("type", "default"));
  if (rope.has("factor") || rope.has("attention_factor")) return false;
  const isLong = kind === "longrope" || kind === "su";
  return kind === "yarn" || (isLong && first?.rope?.kind === "longrope" && first.rope.attentionFactor !== 1);
}

const NORMS: Readonly<Record<Traits["norm"], Omit<Norm, "eps">>> = {
  rms: { kind: "rms", weight: "plain", bias: false },
  "rms, 1 + weight": { kind: "rms", weight: "plusOne", bias: false },
  "rms, no weight": { kind: "rms", weight: "none", bias: false },
  layer: { kind: "layer", weight: "plain", bias: true },
  "layer, 1 + weight": { kind: "layer", weight: "plusOne", bias: true },
  "layer, no bias": { kind: "layer", weight: "plain", bias: false },
  "layer, alone": { kind: "layer", weight: "none", bias: false },
};

const parseNorm = (config: ConfigReader, { norm, eps }: Traits): Norm => ({
  ...NORMS[norm],
  eps: typeof eps === "number" ? eps : numberOr(config, eps),
});

function parseQkNorm(config: ConfigReader, { qkNorm }: Traits, norm: Norm): QkNorm | null {
  if (qkNorm === null || (qkNorm.when && !flag(config, qkNorm.when))) return null;
  const { q, k, over, afterRope = false } = qkNorm;
  const own =
    qkNorm.norm === "layer" ? ({ ...norm, kind: "layer", weight: "plain", bias: over === "head" } as const) : norm;
  return { norm: own, q, k, over, afterRope };
}

function parsePlaces(config: ConfigReader, { places, afterNorms }: Traits): NormPlaces {
  if (afterNorms === undefined || !flag(config, afterNorms.unless)) return places;
  return { ...places, afterAttention: afterNorms.attention, afterMlp: afterNorms.mlp };
}

function parseScale(config: ConfigReader, { attentionScale }: Traits, headDim: number): number {
  if (attentionScale === null) return headDim ** -0.5;
  if ("rootOf" in attentionScale) return numberOr(config, attentionScale.rootOf) ** -0.5;
  return numberOr(config, attentionScale.times) ?? headDim ** -0.5;
}

/** Significant bits of the weights' element types, the implicit one included. */
const MANTISSA: Readonly<Record<string, number>> = { bfloat16: 8, float16: 11, float32: 24 };

/** transformers keeps √hidden_size in a buffer of the weights' own type. */
function parseEmbedScale(config: ConfigReader, { embedScale }: Traits, dim: number): number {
  if (embedScale === null) return 1;
  if (embedScale !== "sqrt") return numberOr(config, embedScale);
  const bits = MANTISSA[config.optional("dtype", config.string) ?? config.optional("torch_dtype", config.string) ?? ""];
  const root = Math.sqrt(dim);
  const unit = 2 ** (Math.floor(Math.log2(root)) + 1 - (bits ?? 24));
  const below = Math.floor(root / unit);
  const rest = root / unit - below;
  const isUp = rest > 0.5 || (rest === 0.5 && below % 2 === 1);
  return (below + (isUp ? 1 : 0)) * unit;
}

function parseResidualScale(config: ConfigReader, { residualScale }: Traits, nLayers: number): number {
  if (residualScale === null) return 1;
  if (residualScale !== "minicpm") return numberOr(config, residualScale);
  return config.isNull("scale_depth") ? 1 : config.number("scale_depth", 1.4) / Math.sqrt(nLayers);
}

function parseLogitScale(config: ConfigReader, { logits }: Traits, dim: number): number {
  if (logits === null) return 1;
  if (logits === "minicpm") return config.isNull("dim_model_base") ? 1 : config.number("dim_model_base", 256) / dim;
  return "times" in logits ? numberOr(config, logits.times) : 1 / numberOr(config, logits.by);
}

const parsePairs = (config: ConfigReader, { pairs, latent }: Traits) =>
  latent?.interleave && flag(config, ["rope_interleave", true]) ? "adjacent" : pairs;

/** ACT2FN of huggingface/transformers@v5.23.0:src/transformers/activations.py */
const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  silu: "silu",
  swish: "silu",
  gelu: "gelu",
  gelu_new: "geluTanh",
  gelu_pytorch_tanh: "geluTanh",
  relu: "relu",
  relu2: "relu2",
};

function parseMlp(config: ConfigReader, traits: Traits): Mlp {
  const [field, byDefault] = traits.activation;
  const given = config.has(field) ? config.string(field) : byDefault;
  const name = traits.activationAlias?.[given] ?? given;
  // Its parameters are tensors, which only this architecture's MLP has a place for.
  const activation = name === "xielu" && byDefault === "xielu" ? "xielu" : ACTIVATIONS[name];
  if (activation === undefined) config.unsupported(field, Object.keys(ACTIVATIONS).join(", "), "has no graph here");
  return { ...traits.mlp, bias: flag(config, traits.mlpBias), activation };
}

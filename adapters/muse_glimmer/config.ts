// Config of Muse Glimmer: HF's MuseGlimmerConfig.
//   huggingface/transformers@v5.23.0:src/transformers/models/muse_glimmer/configuration_muse_glimmer.py
import type { RopeSpec } from "../../numerics/rope.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { ConfigReader } from "../common/config-reader.ts";
import { checkHeads, parseHfDtype } from "../common/heads.ts";
import { parseHfRope } from "../common/rope-config.ts";

/** Sizes in elements, lengths in tokens. */
export interface MuseGlimmerConfig {
  readonly nLayers: number;
  readonly vocabSize: number;
  readonly dim: number;
  readonly ffnDim: number;
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  readonly normEps: number;
  /** Epsilon of the norms between a block's output and the residual. */
  readonly postNormEps: number;
  /** The output head is the embedding. */
  readonly tied: boolean;
  readonly rope: RopeSpec;
  /** Layers whose queries and keys are not rotated. */
  readonly unrotatedLayers: readonly number[];
  /** Layers that see `window` tokens back, not all. */
  readonly slidingLayers: readonly number[];
  /** 0 where no layer has one. */
  readonly window: number;
  /** Multiplies queries after their norm, on top of H^-½. */
  readonly queryScale: number;
  /** Multiplies logits before they are capped. */
  readonly outputMultiplier: number;
  readonly logitCap: number;
  readonly maxPositions: number;
  /** Null in a text-only model, which torchtitan has and HF's class does not. */
  readonly vision: MuseGlimmerVision | null;
  /** Ids of the tokens that stand for a patch of an image or video. */
  readonly tokens: Readonly<Record<"image" | "video", number>>;
  /** As HF spells it (`bfloat16`); null where the config is silent. */
  readonly dtype: string | null;
}

/** The tower and the adapter behind it. */
/** Where in the tower's table of positions an image's place (h, w) is read, whatever the image's shape. */
export type TablePlace = "(h, w)" | "(w, h)";

export interface MuseGlimmerVision {
  readonly nBlocks: number;
  readonly dim: number;
  readonly ffnDim: number;
  readonly nHeads: number;
  /** Pixels along an edge of a patch, and frames in it. */
  readonly patchSize: number;
  readonly patchFrames: number;
  /** Rows and columns of the table of positions, which is resampled to an image's patches. */
  readonly positionRows: number;
  readonly positionColumns: number;
  /** Patches along an edge of the square that becomes one token. */
  readonly mergeSize: number;
  /** Blocks whose patches see only those of their window. */
  readonly windowBlocks: readonly number[];
  readonly adapterDim: number;
  readonly normEps: number;
  readonly ropeTheta: number;
}

/**
 * Absent fields are those of the HF class; a `vision_config` of null stands for a text-only model. Throws InputError
 * INVALID_CONFIG or CONFIG_UNSUPPORTED naming the field.
 */
export function parseMuseGlimmerConfig(json: JsonObject, where: string): MuseGlimmerConfig {
  const config = new ConfigReader(json, where);
  if (json.model_type === undefined) config.fail("model_type", `"muse_glimmer" (give the model's HF config)`);
  config.only("model_type", "muse_glimmer", "is another family");
  const text = config.objectOrEmpty("text_config");
  const sizes = {
    ...parseText(text),
    tied: config.boolean("tie_word_embeddings", false),
    vision: config.isNull("vision_config") ? null : parseVision(config, config.objectOrEmpty("vision_config")),
    tokens: { image: config.count("image_token_id", 200_092), video: config.count("video_token_id", 200_091) },
    dtype: parseHfDtype(config) ?? parseHfDtype(text),
  };
  return checkHeads(sizes, where);
}

function parseText(text: ConfigReader) {
  text.onlyActivation("hidden_activation", "silu");
  text.only("attention_bias", false, "has no place on the native side");
  const nLayers = text.layers("num_hidden_layers", 52);
  const headDim = text.size("head_dim", 128);
  const maxPositions = text.size("max_position_embeddings", 131_072);
  const rope = parseHfRope(text, headDim, maxPositions);
  const slidingLayers = layersOf(text, nLayers, "sliding_attention", (l) => !isFourthFromLast(l, nLayers));
  return {
    nLayers,
    vocabSize: text.size("vocab_size", 202_048),
    dim: text.size("hidden_size", 6656),
    ffnDim: text.size("intermediate_size", 19_968),
    nHeads: text.size("num_attention_heads", 32),
    nKvHeads: text.size("num_key_value_heads", 2),
    headDim,
    normEps: text.number("rms_norm_eps", 1e-5),
    postNormEps: text.number("post_norm_eps", 1e-8),
    rope,
    unrotatedLayers: parseUnrotated(text, nLayers, rope),
    slidingLayers,
    window: slidingLayers.length === 0 ? 0 : text.size("sliding_window", 2048),
    queryScale: text.number("qk_scale_factor", 3.87),
    outputMultiplier: text.number("output_multiplier", 0.19611613513818404),
    logitCap: text.number("final_logit_softcapping", 20),
    maxPositions,
  };
}

/** Such layers see everything and are not rotated, unless the config says otherwise. */
const isFourthFromLast = (layer: number, nLayers: number): boolean => (nLayers - 1 - layer) % 4 === 0;

/** Layers of `layer_types` that are of this type and not of full attention. */
function layersOf(
  config: ConfigReader,
  nLayers: number,
  type: string,
  byDefault: (layer: number) => boolean,
): number[] {
  const layers = Array.from({ length: nLayers }, (_, layer) => layer);
  if (!config.has("layer_types")) return layers.filter(byDefault);
  const types = config.list("layer_types");
  if (types.length !== nLayers || types.some((one) => one !== type && one !== "full_attention"))
    config.fail("layer_types", `"full_attention" or "${type}" for each of ${nLayers} layers`);
  return layers.filter((layer) => types[layer] === type);
}

/** 0 in `layer_rope_theta` leaves a layer unrotated; all others have one θ on both sides, that of `rope_parameters`. */
function parseUnrotated(text: ConfigReader, nLayers: number, { theta }: RopeSpec): number[] {
  const layers = Array.from({ length: nLayers }, (_, layer) => layer);
  if (!text.has("layer_rope_theta")) return layers.filter((layer) => isFourthFromLast(layer, nLayers));
  const thetas = text.list("layer_rope_theta");
  if (thetas.length !== nLayers || thetas.some((one) => typeof one !== "number"))
    text.fail("layer_rope_theta", `a number for each of ${nLayers} layers`);
  if (thetas.some((one) => one !== 0 && one !== theta))
    text.unsupported("layer_rope_theta", `0 or ${theta}`, "is no one base for all rotated layers");
  return layers.filter((layer) => thetas[layer] === 0);
}

function parseVision(config: ConfigReader, vision: ConfigReader): MuseGlimmerVision {
  config.onlyActivation("projector_hidden_act", "gelu");
  vision.onlyActivation("hidden_act", "gelu");
  const rope = vision.objectOrEmpty("rope_parameters");
  rope.only("rope_type", "axial", "has no graph here");
  const nBlocks = vision.layers("num_hidden_layers", 50);
  const dim = vision.size("hidden_size", 1536);
  const nHeads = vision.size("num_attention_heads", 16);
  if (dim % (4 * nHeads) !== 0)
    vision.fail("hidden_size", `a multiple of 4 num_attention_heads (${4 * nHeads}), as rows and columns rotate pairs`);
  const mergeSize = vision.size("merge_size", 2);
  const outDim = dim * mergeSize ** 2;
  if (config.size("out_hidden_size", 6144) !== outDim)
    config.fail("out_hidden_size", `hidden_size · merge_size² of the tower (${outDim})`);
  return {
    nBlocks,
    dim,
    ffnDim: vision.size("intermediate_size", 8960),
    nHeads,
    patchSize: vision.size("patch_size", 14),
    patchFrames: vision.size("patch_temporal", 2),
    positionRows: vision.size("pos_emb_height", 32),
    positionColumns: vision.size("pos_emb_width", 32),
    mergeSize,
    windowBlocks: layersOf(vision, nBlocks, "window_attention", (b) => (b + 1) % 4 !== 0 && b !== nBlocks - 1),
    adapterDim: config.size("projector_hidden_size", 4096),
    normEps: vision.number("layer_norm_eps", 1e-5),
    ropeTheta: rope.number("rope_theta", 10_000),
  };
}

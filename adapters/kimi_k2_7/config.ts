// Config of Kimi K2.5 to K2.7 and of Kimi-VL: a DeepSeek-V3 text model and MoonViT. The Hub's files spell the tower's
// fields as their own code does, transformers 5 in its own way; both are read.
//   huggingface/transformers@v5.23.0:src/transformers/models/kimi_k25/configuration_kimi_k25.py
//   https://huggingface.co/moonshotai/Kimi-K2.5/blob/main/configuration_kimi_k25.py
//   https://huggingface.co/moonshotai/Kimi-VL-A3B-Instruct/blob/main/configuration_kimi_vl.py
import type { JsonObject } from "../../src/base/json.ts";
import { ConfigReader } from "../common/config-reader.ts";
import { type DeepseekV3Config, readDeepseekV3 } from "../common/deepseek-decoder.ts";
import { parseHfDtype } from "../common/heads.ts";

export const KIMI_MODEL_TYPES = ["kimi_k25", "kimi_vl"] as const;
type KimiModelType = (typeof KIMI_MODEL_TYPES)[number];

/** Sizes in elements, lengths in tokens. */
export interface KimiConfig {
  readonly modelType: KimiModelType;
  readonly text: DeepseekV3Config;
  readonly vision: KimiVision;
  /** Ids of the tokens that stand for a patch of an image or video, and of those around them. */
  readonly tokens: Readonly<Record<"image" | "video" | "visionStart" | "visionEnd", number>>;
  /** As HF spells it (`bfloat16`); null where the config is silent. */
  readonly dtype: string | null;
}

/** MoonViT and the projector behind it. */
export interface KimiVision {
  readonly nBlocks: number;
  readonly dim: number;
  readonly ffnDim: number;
  readonly nHeads: number;
  /** Pixels along an edge of a patch. */
  readonly patchSize: number;
  /** Rows and columns of the table of positions, which is resampled to an image's patches. */
  readonly positionRows: number;
  readonly positionColumns: number;
  /** Frames that have a temporal position; those are computed. */
  readonly frames: number;
  /** Rows and columns of patches that become one token. */
  readonly mergeRows: number;
  readonly mergeColumns: number;
  readonly ropeTheta: number;
  readonly projectorEps: number;
}

/**
 * Defaults are those of Kimi_K25Config, for Kimi-VL too. Throws InputError INVALID_CONFIG or CONFIG_UNSUPPORTED naming
 * the field. `tie_word_embeddings` counts at the top in a `kimi_k25`, in the text model in a `kimi_vl`.
 */
export function parseKimiConfig(json: JsonObject, where: string): KimiConfig {
  const config = new ConfigReader(json, where);
  const modelType =
    KIMI_MODEL_TYPES.find((name) => name === json.model_type) ??
    config.fail("model_type", `"${KIMI_MODEL_TYPES.join('" or "')}" (give the model's HF config)`);
  const textReader = config.objectOrEmpty("text_config");
  const textType = textReader.string("model_type", "deepseek_v3");
  if (textType !== "kimi_k2") textReader.only("model_type", "deepseek_v3", "has no place on the native side");
  const text = readDeepseekV3(textReader);
  const image = config.has("image_token_id") ? "image_token_id" : "media_placeholder_token_id";
  return {
    modelType,
    text: {
      ...text,
      tied: modelType === "kimi_vl" ? text.tied : config.boolean("tie_word_embeddings", true),
      nMtpLayers: 0,
    },
    vision: parseVision(config, modelType),
    tokens: {
      image: config.count(image, 163_605),
      video: config.count("video_token_id", 163_840),
      visionStart: config.count("vision_start_token_id", 163_602),
      visionEnd: config.count("vision_end_token_id", 163_604),
    },
    dtype: parseHfDtype(config) ?? text.dtype,
  };
}

function parseVision(config: ConfigReader, modelType: KimiModelType): KimiVision {
  const vision = config.objectOrEmpty("vision_config");
  /** The first spelling that is present. */
  const spelled = (names: readonly [string, ...string[]]): string => names.find((name) => vision.has(name)) ?? names[0];
  const size = (names: readonly [string, ...string[]], fallback: number): number =>
    vision.size(spelled(names), fallback);
  vision.onlyActivation("hidden_act", "gelu_pytorch_tanh");
  vision.onlyActivation("projector_hidden_act", "gelu");
  vision.only("mm_projector_type", "patchmerger", "has no place on the native side");
  const rope = vision.objectOrEmpty("rope_parameters");
  rope.only("rope_type", "axial", "has no graph here");
  const dim = size(["hidden_size", "vt_hidden_size"], 1152);
  const nHeads = size(["num_attention_heads", "vt_num_attention_heads"], 16);
  if (dim % (4 * nHeads) !== 0)
    vision.fail("hidden_size", `a multiple of 4 num_attention_heads (${4 * nHeads}), as rows and columns rotate pairs`);
  checkProjector(config, vision, dim, modelType);
  const [mergeRows, mergeColumns] = parseMerge(vision);
  return {
    nBlocks: vision.layers(spelled(["num_hidden_layers", "vt_num_hidden_layers"]), 27),
    dim,
    ffnDim: size(["intermediate_size", "vt_intermediate_size"], 4304),
    nHeads,
    patchSize: vision.size("patch_size", 14),
    positionRows: size(["pos_emb_height", "init_pos_emb_height"], 64),
    positionColumns: size(["pos_emb_width", "init_pos_emb_width"], 64),
    frames: modelType === "kimi_vl" ? 1 : size(["pos_emb_time", "init_pos_emb_time"], 4),
    mergeRows,
    mergeColumns,
    ropeTheta: rope.number("rope_theta", 10_000),
    projectorEps: config.has("projection_layer_norm_eps")
      ? config.number("projection_layer_norm_eps")
      : vision.number("projector_ln_eps", 1e-5),
  };
}

/** Its first norm is over the channels of a patch; a `kimi_k25` has a field for them, by default 1152. */
function checkProjector(config: ConfigReader, vision: ConfigReader, dim: number, modelType: KimiModelType): void {
  if (modelType === "kimi_vl") return;
  const [reader, name] =
    config.has("projection_hidden_size") || !vision.has("mm_hidden_size")
      ? ([config, "projection_hidden_size"] as const)
      : ([vision, "mm_hidden_size"] as const);
  if (reader.size(name, 1152) !== dim) reader.fail(name, `the width of the tower (${dim})`);
}

function parseMerge(vision: ConfigReader): [number, number] {
  if (!vision.has("merge_kernel_size")) return [2, 2];
  const [rows, columns, ...more] = vision.list("merge_kernel_size");
  const isSize = (value: unknown): value is number =>
    typeof value === "number" && Number.isSafeInteger(value) && value > 0;
  if (isSize(rows) && isSize(columns) && more.length === 0) return [rows, columns];
  return vision.fail("merge_kernel_size", "two positive integers, rows and columns");
}

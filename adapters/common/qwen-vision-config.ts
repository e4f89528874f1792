// What the configs of Qwen3-VL and Qwen3.5 have in common: the vision tower, the tokens around images, the shares of M-RoPE.
//   huggingface/transformers@v5.23.0:src/transformers/models/qwen3_vl/configuration_qwen3_vl.py, Qwen3VLVisionConfig
//   huggingface/transformers@v5.23.0:src/transformers/models/qwen3_5/configuration_qwen3_5.py, Qwen3_5VisionConfig
import type { VisionInput } from "../../src/family/family.ts";
import type { ConfigReader } from "./config-reader.ts";
import { qwen2VlImageProcessor } from "./qwen-image-processor.ts";

/** Sizes in elements. */
export interface QwenVision {
  readonly nBlocks: number;
  readonly dim: number;
  readonly ffnDim: number;
  readonly nHeads: number;
  readonly channels: number;
  /** Pixels along an edge of a patch, and frames in it. */
  readonly patchSize: number;
  readonly patchFrames: number;
  /** Patches along an edge of the square that becomes one token. */
  readonly mergeSize: number;
  readonly outDim: number;
  readonly nPositions: number;
  readonly ropeTheta: number;
}

/** Ids of the tokens that stand for a patch of an image or video, and of those around them. */
export type VisionTokens = Readonly<Record<"image" | "video" | "visionStart" | "visionEnd", number>>;

export function parseQwenVision(vision: ConfigReader): QwenVision {
  vision.onlyActivation("hidden_act", "gelu_pytorch_tanh");
  const rope = vision.objectOrEmpty("rope_parameters");
  rope.only("rope_type", "axial", "has no graph here");
  const dim = vision.size("hidden_size", 1152);
  const nHeads = vision.size("num_heads", 16);
  if (dim % nHeads !== 0) vision.fail("hidden_size", `a multiple of num_heads (${nHeads})`);
  return {
    nBlocks: vision.layers("depth", 27),
    dim,
    ffnDim: vision.size("intermediate_size", 4304),
    nHeads,
    channels: vision.size("in_channels", 3),
    patchSize: vision.size("patch_size", 16),
    patchFrames: vision.size("temporal_patch_size", 2),
    mergeSize: vision.size("spatial_merge_size", 2),
    outDim: vision.size("out_hidden_size", 3584),
    nPositions: vision.size("num_position_embeddings", 2304),
    ropeTheta: rope.number("rope_theta", 10_000),
  };
}

/** @param defaults those of the HF class */
export const parseVisionTokens = (config: ConfigReader, defaults: VisionTokens): VisionTokens => ({
  image: config.count("image_token_id", defaults.image),
  video: config.count("video_token_id", defaults.video),
  visionStart: config.count("vision_start_token_id", defaults.visionStart),
  visionEnd: config.count("vision_end_token_id", defaults.visionEnd),
});

/** How images are given to such a model. */
export const qwenVisionInput = (vision: QwenVision, tokens: VisionTokens): VisionInput => ({
  patchDim: vision.channels * vision.patchFrames * vision.patchSize ** 2,
  mergeSize: vision.mergeSize,
  imageToken: tokens.image,
  around: [tokens.visionStart, tokens.visionEnd],
  reserved: [tokens.image, tokens.video, tokens.visionStart, tokens.visionEnd],
  processor: qwen2VlImageProcessor,
});

/** Frequencies that turn with time, row and column. */
export function parseMropeSection(rope: ConfigReader, defaults: readonly number[]): readonly number[] {
  const section = rope.counts("mrope_section", defaults);
  return section.length === 3 ? section : rope.fail("mrope_section", "three numbers, for time, row and column");
}

// What a tensor is, by its Hugging Face key and the config: its layer, its tower, its heads.
import { isFloat } from "../../base/floats.ts";
import { isJsonObject, type JsonObject } from "../../base/json.ts";
import type { TensorInfo } from "../../formats/checkpoint.ts";
import type { Sample } from "../fault.ts";

/** The config of the language model: `text_config` where there is one. */
export const textConfig = (config: JsonObject): JsonObject =>
  isJsonObject(config.text_config) ? config.text_config : config;

export const visionConfig = (config: JsonObject): JsonObject | null =>
  isJsonObject(config.vision_config) ? config.vision_config : null;

/** The first of these fields that is a number; `otherwise` where none is. */
export function numberOf(config: JsonObject, fields: readonly string[], otherwise = 0): number {
  for (const field of fields) {
    const value: unknown = config[field];
    if (typeof value === "number") return value;
  }
  return otherwise;
}

/** Whether the tensor belongs to what sees, not to what speaks. */
export const isVision = (key: string): boolean => /(?:^|\.)(?:visual|vision\w*|mm_projector)\./.test(key);

export interface LayerPlace {
  /** `model.layers.` */
  readonly stack: string;
  readonly layer: number;
  /** `mlp.up_proj.weight` */
  readonly rest: string;
}

/** Where in a stack of layers a tensor is; null for one outside. */
export function layerOf(key: string): LayerPlace | null {
  const match = /^(.*?\b(?:layers|blocks)\.)(\d+)\.(.+)$/.exec(key);
  return match === null ? null : { stack: match[1]!, layer: Number(match[2]), rest: match[3]! };
}

export const inLayer = ({ stack }: LayerPlace, layer: number, rest: string): string => `${stack}${layer}.${rest}`;

/** Keys of floating-point tensors that match. */
export const keysLike = (
  { source }: Sample,
  pattern: RegExp,
  isSo: (info: TensorInfo) => boolean = () => true,
): string[] =>
  [...source.tensors.values()]
    .filter((info) => pattern.test(info.key) && isFloat(info.dtype) && isSo(info))
    .map(({ key }) => key);

/** Channels of an attention head of the language model, as transformers reads them; 0 where the config does not say. */
export function headDim({ config }: Sample): number {
  const text = textConfig(config);
  return numberOf(text, ["head_dim"], numberOf(text, ["hidden_size"]) / numberOf(text, ["num_attention_heads"], 1));
}

/** Channels of a head that turn with the position. */
export function rotaryDim(sample: Sample): number {
  const text = textConfig(sample.config);
  const nested = isJsonObject(text.rope_parameters) ? text.rope_parameters : {};
  const factor = numberOf(nested, ["partial_rotary_factor"], numberOf(text, ["partial_rotary_factor"], 1));
  return Math.floor(headDim(sample) * factor);
}

export const queryHeads = ({ config }: Sample): number => numberOf(textConfig(config), ["num_attention_heads"]);

/** Of keys and values. */
export const keyHeads = (sample: Sample): number =>
  numberOf(textConfig(sample.config), ["num_key_value_heads"], queryHeads(sample));

/** Experts of a layer that tokens are routed to; 0 in a dense model. */
export const expertCount = ({ config }: Sample): number =>
  numberOf(textConfig(config), ["num_local_experts", "n_routed_experts", "num_experts"]);

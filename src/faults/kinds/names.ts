// What a tensor is, by its Hugging Face key and the config: its layer, its tower, its heads.
import { isFloat } from "../../base/floats.ts";
import { isJsonObject, type JsonObject } from "../../base/json.ts";
import type { TensorInfo } from "../../formats/checkpoint.ts";
import type { Sample } from "../fault.ts";

/** The config of the language model: `text_config` where there is one. */
export const textConfig = (config: JsonObject): JsonObject =>
  isJsonObject(config.text_config) ? config.text_config : config;

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

// What a Hugging Face config says of the storage of its weights: `quantization_config`.
import type { JsonObject } from "../family/adapter.ts";
import type { EncodedTensor, Encoding, EncodingName } from "./encoding.ts";
import { fp8Blocks } from "./fp8.ts";
import { GROUP, mxfp4 } from "./mxfp4.ts";

const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** The config's own, or that of the text model inside it; null where the weights are plain. */
export function quantisationOf(config: JsonObject | null): JsonObject | null {
  const inner = isObject(config?.text_config) ? config.text_config : null;
  const found: unknown = config?.quantization_config ?? inner?.quantization_config ?? null;
  return found === null ? null : isObject(found) ? found : { quant_method: found };
}

/** The encoding that a config names, if it is one of ours. */
export function encodingNamed(quantisation: JsonObject | null): EncodingName | null {
  const method = quantisation?.quant_method;
  return method === "fp8" || method === "mxfp4" ? method : null;
}

/** `weight_block_size`; 128 by 128 where the config is silent; null where it is something else. */
export function blockSizeOf(quantisation: JsonObject | null): readonly [number, number] | null {
  const size: unknown = quantisation?.weight_block_size ?? [128, 128];
  const fits = Array.isArray(size) && size.length === 2 && size.every((n) => Number.isSafeInteger(n) && n > 0);
  return fits ? [Number(size[0]), Number(size[1])] : null;
}

export const encodingOf = (name: EncodingName, block: readonly [number, number]): Encoding =>
  name === "fp8" ? fp8Blocks(block) : mxfp4;

/** Linear weights; embeddings, head, router and what joins MTP inputs stay plain, as in DeepSeek's own files. */
const FP8_WEIGHT = /_proj(?:_with_mqa)?\.weight$/;
const FP8_PLAIN = /\beh_proj\.weight$/;
/** gpt-oss' experts. */
const MXFP4_WEIGHT = /\.mlp\.experts\.(?:gate_up|down)_proj$/;

/** Whether a plain HF tensor is stored encoded where nothing but the config tells. */
export function isEncodable(name: EncodingName, key: string, quantisation: JsonObject | null): boolean {
  const fits = name === "fp8" ? FP8_WEIGHT.test(key) && !FP8_PLAIN.test(key) : MXFP4_WEIGHT.test(key);
  return fits && !isExempt(key, quantisation);
}

/** `modules_to_not_convert`: names of modules, a `*` for any part between dots. */
function isExempt(key: string, quantisation: JsonObject | null): boolean {
  const listed: unknown = quantisation?.modules_to_not_convert ?? [];
  const modules = Array.isArray(listed) ? listed.filter((name): name is string => typeof name === "string") : [];
  const parts = key.split(".");
  return modules.some((name) => {
    const pattern = name.split(".");
    const matchesAt = (at: number) => pattern.every((part, i) => part === "*" || part === parts[at + i]);
    return parts.some((_, at) => at + pattern.length <= parts.length && matchesAt(at));
  });
}

/** Null where the shape has no such encoding. */
export function encodedAs(encoding: Encoding, key: string, shape: readonly number[]): EncodedTensor | null {
  const fits = encoding.name === "fp8" ? shape.length === 2 : shape.length > 1 && shape.at(-1)! % GROUP === 0;
  if (!fits) return null;
  const { codes, scales } = encoding.stored({ key, shape });
  return { encoding, key, shape, codes: codes.key, scales: scales.key };
}

/** What a config says that had no `quantization_config` before. */
export const QUANTISATIONS: Readonly<Record<EncodingName, JsonObject>> = {
  fp8: { activation_scheme: "dynamic", fmt: "e4m3", quant_method: "fp8", weight_block_size: [128, 128] },
  mxfp4: {
    modules_to_not_convert: ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"],
    quant_method: "mxfp4",
  },
};

/** The config with this `quantization_config`, or without one. */
export function withQuantisation(config: JsonObject, quantisation: JsonObject | null): JsonObject {
  const { quantization_config: _, ...rest } = config;
  const inner = isObject(rest.text_config) ? rest.text_config : null;
  if (inner && Object.hasOwn(inner, "quantization_config")) {
    const { quantization_config: __, ...text } = inner;
    return { ...rest, text_config: quantisation === null ? text : { ...text, quantization_config: quantisation } };
  }
  return quantisation === null ? rest : { ...rest, quantization_config: quantisation };
}

// What a Hugging Face config says of the storage of its weights: `quantization_config`.
import { isJsonObject, type JsonObject } from "../base/json.ts";
import type { Encodable, EncodableTensors, EncodingName } from "../family/encodable.ts";
import type { EncodedTensor, Encoding } from "./encoding.ts";
import { fp8Blocks } from "./fp8.ts";
import { GROUP, mxfp4 } from "./mxfp4.ts";

/** The config's own, or that of the text model inside it; null where the weights are plain. */
export function quantisationOf(config: JsonObject | null): JsonObject | null {
  const inner = isJsonObject(config?.text_config) ? config.text_config : null;
  const found: unknown = config?.quantization_config ?? inner?.quantization_config ?? null;
  return found === null ? null : isJsonObject(found) ? found : { quant_method: found };
}

/** The method by its name; configs of bitsandbytes had none at first. */
export function methodOf(quantisation: JsonObject): string {
  const { quant_method: named, load_in_8bit, load_in_4bit } = quantisation;
  if (typeof named === "string") return named;
  return load_in_8bit === true || load_in_4bit === true ? "bitsandbytes" : "no known method";
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

/**
 * The default for families without a list of their own: weights of linear layers, by their usual name in transformers.
 */
const USUAL: Encodable = { fp8: { keys: ["_proj.weight"] } };

/** Null where no tensor of the family is ever stored under this encoding. */
export const encodableTensors = (name: EncodingName, own: Encodable | undefined): EncodableTensors | null =>
  own?.[name] ?? USUAL[name] ?? null;

/** Whether a plain HF tensor is to be encoded, by the family's keys and the config's exceptions. */
export const isEncodable = ({ keys }: EncodableTensors, key: string, quantisation: JsonObject): boolean =>
  keys.some((end) => key.endsWith(end)) && !isExempt(key, quantisation);

/** `modules_to_not_convert`: names of modules, a `*` for any part between dots. */
function isExempt(key: string, quantisation: JsonObject): boolean {
  const listed: unknown = quantisation.modules_to_not_convert ?? [];
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

const METHODS: Readonly<Record<EncodingName, JsonObject>> = {
  fp8: { activation_scheme: "dynamic", fmt: "e4m3", quant_method: "fp8", weight_block_size: [128, 128] },
  mxfp4: { quant_method: "mxfp4" },
};

/** The `quantization_config` for a config that had none. */
export const newQuantisation = (name: EncodingName, plainModules: readonly string[] | undefined): JsonObject => ({
  ...(plainModules === undefined ? {} : { modules_to_not_convert: plainModules }),
  ...METHODS[name],
});

/** The config with this `quantization_config`, or without one. */
export function withQuantisation(config: JsonObject, quantisation: JsonObject | null): JsonObject {
  const { quantization_config: _, ...rest } = config;
  const inner = isJsonObject(rest.text_config) ? rest.text_config : null;
  if (inner && Object.hasOwn(inner, "quantization_config")) {
    const { quantization_config: __, ...text } = inner;
    return { ...rest, text_config: quantisation === null ? text : { ...text, quantization_config: quantisation } };
  }
  return quantisation === null ? rest : { ...rest, quantization_config: quantisation };
}

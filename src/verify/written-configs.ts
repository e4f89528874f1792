// Two configs as their files spell them: the fields that a person finds in config.json.
import { isJsonObject, type JsonObject } from "../base/json.ts";
import type { Family } from "../family/family.ts";
import type { ConfigDifference } from "../faults/model/config-differs.ts";

/** Fields that no forward pass reads. */
const SILENT =
  /(?:^|\.)(?:_.*|architectures|model_type|torch_dtype|dtype|transformers_version|use_cache|initializer_range|max_position_embeddings|attention_dropout|pretraining_tp|quantization_config\b.*|(?:bos|eos|pad)_token_id)$/;

/** Fields that the two configs give differently, in the spelling of Hugging Face; null stands for an absent one. */
export function writtenDifferences(a: Family, b: Family): ConfigDifference[] {
  const [left, right] = [flat(a.hfConfig()), flat(b.hfConfig())];
  return [...new Set([...left.keys(), ...right.keys()])]
    .filter((field) => !SILENT.test(field) && JSON.stringify(left.get(field)) !== JSON.stringify(right.get(field)))
    .map((field) => ({ field, a: left.get(field) ?? null, b: right.get(field) ?? null }));
}

/** By path, `text_config.rope_parameters.factor`; RoPE as transformers 5 spells it. */
function flat(json: JsonObject, path = ""): Map<string, unknown> {
  const fields = new Map<string, unknown>();
  const { rope_scaling, rope_parameters = rope_scaling, rope_theta, ...rest } = json;
  const rope = isJsonObject(rope_parameters) ? rope_parameters : {};
  const { type, rope_type = type, ...parameters } = rope;
  const rotation = {
    ...(rope_theta === undefined ? {} : { rope_theta }),
    ...(rope_type === undefined || rope_type === "default" ? {} : { rope_type }),
    ...parameters,
  };
  for (const [name, value] of Object.entries({ ...rest, ...rotation })) {
    if (value === null || value === undefined) continue;
    if (!isJsonObject(value)) fields.set(path + name, value);
    else for (const [inner, one] of flat(value, `${path}${name}.`)) fields.set(inner, one);
  }
  return fields;
}

import { InputError } from "../../src/base/errors.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { defineFamily } from "../../src/family/define.ts";
import type { LongOnly } from "../../src/family/family.ts";
import { type Field, watched } from "../../src/family/fields.ts";
import { activationNamed, isJsonObject } from "../common/config-reader.ts";
import { LATENT_FP8 } from "../common/encodable.ts";
import { known } from "../common/known.ts";
import { ARCHITECTURES } from "./architectures.ts";
import { type HfDenseConfig, parseHfDenseConfig } from "./config.ts";
import type { Decoder } from "./decoder.ts";
import { parseDecoder } from "./decoder-config.ts";
import { nativeDecoder, withinKeepWindow } from "./graph-limits.ts";
import { hfForward } from "./hf.ts";
import { hfDenseAxes, hfDenseRules } from "./mapping.ts";
import { nativeDifferences, nativeForward } from "./native.ts";
import { TRAITS } from "./traits/by-model.ts";

const SIZES = { vocab_size: 2, hidden_size: 2, num_hidden_layers: 1 };

export const hfDense = defineFamily({
  family: "hf-dense",
  modelTypes: [...ARCHITECTURES.keys()].toSorted(),
  generic: true,
  flavours: ["dense", "tied"],
  modalities: ["text"],
  known: known("LOGITS_AFTER_HEAD", "SLIDING_WINDOW"),
  sources: [
    "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/experiments/transformers_modeling_backend/state_dict_adapter.py",
    "https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/auto/modeling_auto.py",
  ],
  probes: ["mistral", "gemma2", "phi", "olmo"].map((model_type) => ({ model_type, ...SIZES })),
  parse(json, where) {
    const config = parseHfDenseConfig(json, where);
    // Parsed only when it is asked for: a model that no graph understands can still be converted.
    return { ...config, where, decoder: () => parseDecoder(json, where, config.tied) };
  },
  encodable: { fp8: LATENT_FP8 },
  facts: (config) => ({ ...config, ...centred(config.modelType), longOnly: () => longOnly(config.decoder()) }),
  axes: hfDenseAxes,
  math: mathOf,
  hfConfig: (_, json) => json,
  hf: {
    graph({ decoder }) {
      const model = decoder();
      return withinKeepWindow(hfForward(model), model);
    },
  },
  layouts: [
    {
      name: "torchtitan",
      trainer: "torchtitan",
      since: "2026-06-29",
      rules: hfDenseRules,
      graph: ({ decoder, where }) => nativeForward(nativeDecoder(decoder(), where)),
      differences: ({ decoder }) => nativeDifferences(decoder()),
    },
  ],
});

/** RoPE whose frequencies depend on how many tokens there are, and queries that grow with their position. */
function longOnly({ layers, attention: { growth } }: Decoder): LongOnly[] {
  const found = layers.flatMap(({ rope }): LongOnly[] => {
    if (rope?.kind === "longrope") return [{ what: "the long factors of RoPE", tokens: rope.originalMaxPositions }];
    return rope?.kind === "dynamic" ? [{ what: "RoPE beyond its positions", tokens: rope.maxPositions }] : [];
  });
  const growing = growth === null ? [] : [{ what: "the growth of queries", tokens: growth.span }];
  return [...new Map([...found, ...growing].map((each) => [`${each.what} ${each.tokens}`, each])).values()];
}

const centred = (modelType: string): { readonly centredNorms?: RegExp } =>
  TRAITS.get(modelType)?.norm.includes("1 + weight") ? { centredNorms: /norm[^.]*\.weight$/ } : {};

type Facts = Record<string, number | boolean | string>;

/** Fields that no computation reads. */
const SILENT =
  /^(?:_.*|architectures|torch_dtype|dtype|transformers_version|use_cache|initializer_range|\w+_token_id)$/;

/** Both sides run transformers' own module: what it computes is what its config says. RoPE in v5's spelling. */
function mathOf(config: HfDenseConfig, json: JsonObject): Facts {
  const { rope_theta, rope_scaling, rope_parameters, ...fields } = fieldsOf(json, config.tied);
  const rope = isJsonObject(rope_parameters) ? rope_parameters : isJsonObject(rope_scaling) ? rope_scaling : {};
  const { type = "default", rope_type = type, ...parameters } = rope;
  const rotation = { rope_type, ...(rope_theta === undefined ? {} : { rope_theta }), ...parameters };
  return { ...flatten(fields), ...flatten(rotation, "rope."), tie_word_embeddings: config.tied };
}

/** Those that the reader of the architecture asks for; all where there is none: then nobody knows which ones count. */
function fieldsOf(json: JsonObject, isTied: boolean): JsonObject {
  const read = new Set<string>();
  const note = ({ path: [name] }: Field) => read.add(name!);
  try {
    parseHfDenseConfig(watched(json, note), "config.json");
    parseDecoder(watched(json, note), "config.json", isTied);
  } catch (error) {
    if (error instanceof InputError) return json;
    throw error;
  }
  const names = Object.keys(json).filter((name) => read.has(name) || BESIDES.test(name));
  return Object.fromEntries(names.map((name) => [name, json[name]]));
}

/** RoPE, which is compared in one spelling, and a size that graphs see by the shapes of tensors. */
const BESIDES = /^(?:rope_(?:theta|scaling|parameters)|intermediate_size)$/;

function flatten(json: JsonObject, path = ""): Facts {
  const facts: Facts = {};
  for (const [name, value] of Object.entries(json)) {
    if (SILENT.test(name) || value === null || value === undefined) continue;
    if (isJsonObject(value)) Object.assign(facts, flatten(value, `${path}${name}.`));
    else facts[path + name] = typeof value === "object" ? JSON.stringify(value) : plain(activation(name, value));
  }
  return facts;
}

const activation = (field: string, value: unknown): unknown =>
  /^hidden_act/.test(field) && typeof value === "string" ? activationNamed(value) : value;

const plain = (value: unknown): number | boolean | string =>
  typeof value === "number" || typeof value === "boolean" ? value : String(value);

// torchtitan's own configs: the nested Decoder.Config of 0.3.0 (as its trainer dumps it) and the flat model args of 0.2.
//   pytorch/torchtitan@v0.3.0:torchtitan/models/common/{decoder,attention,config_utils}.py
import type { RopeSpec } from "../../numerics/rope.ts";
import { InputError } from "../../src/base/errors.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { ConfigReader, isJsonObject } from "../common/config-reader.ts";
import { parseTorchtitanRope } from "../common/rope-config.ts";

/** A dense decoder with grouped-query attention, as far as its checkpoint and mathematics need it. */
export interface TorchtitanDecoder {
  readonly nLayers: number;
  readonly vocabSize: number;
  readonly dim: number;
  readonly ffnDim: number;
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  readonly normEps: number;
  readonly tied: boolean;
  readonly rope: RopeSpec;
  readonly attentionBias: boolean;
  readonly mlpBias: boolean;
  readonly qkNorm: boolean;
  readonly maxPositions: number;
}

/** The model's part of a dump of the whole trainer config, or the config itself. */
export function torchtitanModel(json: JsonObject): JsonObject {
  const { model_spec: spec } = json;
  return isJsonObject(spec) && isJsonObject(spec.model) ? spec.model : json;
}

/** Whether this is the nested config of 0.3.0, not the flat args of 0.2. */
export const isNestedConfig = (json: JsonObject): boolean => Array.isArray(json.layers);

/** The flat args of 0.2 of a family with experts. Throws InputError INVALID_CONFIG for anything else. */
export function modelArgs(json: JsonObject, where: string, family: string): ConfigReader {
  const model = torchtitanModel(json);
  const reader = new ConfigReader(model, where);
  if (!isJsonObject(model.moe_args) || isNestedConfig(model))
    reader.fail("model_type", `"${family}" (give the model's HF config, or torchtitan 0.2's model args with moe_args)`);
  return reader;
}

/** Throws InputError INVALID_CONFIG or CONFIG_UNSUPPORTED naming the field. */
export function parseTorchtitanDecoder(json: JsonObject, where: string): TorchtitanDecoder {
  const config = new ConfigReader(json, where);
  const layers = config.objects("layers");
  const first = parseLayer(layers[0]);
  const described = JSON.stringify(first);
  const other = layers.findIndex((layer) => JSON.stringify(parseLayer(layer)) !== described);
  if (other > 0) {
    throw new InputError("CONFIG_UNSUPPORTED", `${where}: "layers.${other}" differs from "layers.0"`, {
      file: where,
      expected: "layers of one kind",
      found: JSON.stringify(parseLayer(layers[other]!)),
      help: "this family has no place for layers of different kinds on the Hugging Face side",
    });
  }
  config.object("lm_head").only("bias", false, "has no place on the Hugging Face side");
  if (config.object("norm").number("eps") !== first.normEps)
    config.object("norm").unsupported("eps", `${first.normEps}`, "differs from that of the layers");
  return {
    ...first,
    nLayers: layers.length,
    vocabSize: config.size("vocab_size"),
    dim: config.size("dim"),
    tied: config.boolean("enable_weight_tying", false),
  };
}

function parseLayer(layer: ConfigReader) {
  if (layer.has("moe")) layer.unsupported("moe", "null", "makes this another family");
  const attention = layer.object("attention");
  const nHeads = attention.size("n_heads");
  const headDim = attention.optional("head_dim", attention.size) ?? attention.size("dim") / nHeads;
  if (!Number.isInteger(headDim)) attention.fail("dim", `a multiple of n_heads (${nHeads}), as head_dim is absent`);
  const rope = attention.object("rope");
  if (rope.size("dim") !== headDim) rope.fail("dim", `the channels of a head (${headDim})`);
  const feedForward = layer.object("feed_forward");
  const eps = layer.object("attention_norm").number("eps");
  if (layer.object("ffn_norm").number("eps") !== eps)
    layer.object("ffn_norm").unsupported("eps", `${eps}`, "differs from that of attention_norm");
  if (attention.has("qk_norm") && attention.object("qk_norm").number("eps") !== eps)
    attention.object("qk_norm").unsupported("eps", `${eps}`, "differs from that of attention_norm");
  const mlpBiases = ["w1", "w2", "w3"].map((name) => feedForward.object(name).boolean("bias", false));
  if (new Set(mlpBiases).size > 1) feedForward.fail("w1", "biased like w2 and w3");
  return {
    ffnDim: feedForward.object("w1").size("out_features"),
    nHeads,
    nKvHeads: attention.optional("n_kv_heads", attention.size) ?? nHeads,
    headDim,
    normEps: eps,
    rope: parseTorchtitanRope(rope),
    attentionBias: parseAttentionBias(attention),
    mlpBias: mlpBiases[0] === true,
    qkNorm: attention.has("qk_norm"),
    maxPositions: rope.size("max_seq_len"),
  };
}

/** HF has one switch for the biases of q, k, v and o. */
function parseAttentionBias(attention: ConfigReader): boolean {
  const qkv = attention.object("qkv_linear");
  const inputs = ["wqkv", "wq", "wkv"].filter((name) => qkv.has(name));
  if (inputs.length === 0) qkv.fail("wqkv", "a linear map (or wq and wkv)");
  const output = attention.object("wo").boolean("bias", false);
  for (const name of inputs)
    if (qkv.object(name).boolean("bias", false) !== output)
      qkv.object(name).unsupported("bias", `${output}`, "differs from that of wo");
  return output;
}

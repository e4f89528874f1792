// Meta's params.json, both ways.
//   meta-llama/llama-models@a9c89c471f793423afd4cc3ca8671d6e56fe64cb:models/llama3/{args,model}.py
//   huggingface/transformers@01cc9cd9d804d368d553c093c4eb0646320545bb:src/transformers/models/llama/convert_llama_weights_to_hf.py
import type { RopeSpec } from "../../numerics/rope.ts";
import { InputError } from "../../src/base/errors.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { ConfigReader } from "../common/config-reader.ts";
import { checkHeads } from "../common/heads.ts";
import { hfRopeParameters } from "../common/rope-config.ts";
import { ffnDim, type Llama3Config } from "./config.ts";

export const PARAMS_NAME = "params.json";

/** θ of every Llama 3; Llama 2 has 10⁴, Code Llama 10⁶. */
const LLAMA3_THETA = 500_000;

/** Llama 3 cuts its embedding over ranks by vocabulary (VocabParallelEmbedding), Llama 2 by channels (ParallelEmbedding). */
export const isLlama3 = ({ rope }: Pick<Llama3Config, "rope">): boolean => rope.theta === LLAMA3_THETA;

/** `apply_scaling` of model.py has no other values. */
const SCALING = { lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositions: 8192 };
const SCALING_FACTOR = 8;
/** Llama 3.2 was trained with it. Its params.json does not say so, so the sizes of its text models decide. */
const LLAMA32_FACTOR = 32;
const LLAMA32_SIZES: readonly (readonly [dim: number, layers: number])[] = [
  [2048, 16],
  [3072, 28],
];

/** Fields of torchtitan's TransformerModelArgs that Meta's files do not have. */
const TORCHTITAN_ONLY = [
  "rope_scaling_args",
  "max_seq_len",
  "depth_init",
  "eos_id",
  "use_flex_attn",
  "attn_type",
  "attn_mask_type",
  "enable_weight_tying",
];

/** Whether a config is Meta's params.json. torchtitan's model args look alike and have other defaults. */
export const isParams = (json: JsonObject, where: string): boolean =>
  json.model_type === undefined &&
  (json.use_scaled_rope !== undefined ||
    (/(?:^|[/\\])params\.json$/.test(where) && TORCHTITAN_ONLY.every((name) => json[name] === undefined)));

/** Throws InputError INVALID_CONFIG or CONFIG_UNSUPPORTED naming the field. */
export function parseParams(
  json: JsonObject,
  where: string,
  shapes?: ReadonlyMap<string, readonly number[]>,
): Llama3Config {
  const params = new ConfigReader(json, where);
  for (const name of ["hidden_dim", "sliding_window", "moe"])
    if (params.has(name)) params.unsupported(name, "nothing", "is Mistral's");
  for (const name of ["quantization_args", "lora_args", "vision_model"])
    if (params.has(name)) params.unsupported(name, "nothing", "makes this another model");
  const dim = params.size("dim");
  const nHeads = params.size("n_heads");
  const nLayers = params.layers("n_layers");
  const headDim = dim / nHeads;
  if (!Number.isInteger(headDim)) params.fail("dim", `a multiple of n_heads (${nHeads})`);
  params.only("head_dim", headDim, "is not dim / n_heads");
  const theta = params.number("rope_theta", 10_000);
  const scaled = params.boolean("use_scaled_rope", false);
  const config: Llama3Config = {
    nLayers,
    vocabSize:
      json.vocab_size === undefined || json.vocab_size === -1
        ? vocabOf(params, dim, shapes)
        : params.size("vocab_size"),
    dim,
    ffnDim: ffnDim(dim, params.optional("ffn_dim_multiplier", params.number) ?? 1, params.size("multiple_of", 256)),
    nHeads,
    nKvHeads: params.optional("n_kv_heads", params.size) ?? nHeads,
    headDim,
    normEps: params.number("norm_eps", 1e-5),
    tied: false,
    rope: scaled
      ? { kind: "llama3", theta, dims: headDim, factor: scalingFactor(params, dim, nLayers), ...SCALING }
      : { kind: "default", theta, dims: headDim },
    attentionBias: false,
    mlpBias: false,
    maxPositions: maxPositions(theta, scaled),
    dtype: null,
  };
  return checkHeads(config, where);
}

/** Llama 2's params.json leaves it to the tokenizer. Shapes are those of one rank. */
function vocabOf(
  params: ConfigReader,
  dim: number,
  shapes: ReadonlyMap<string, readonly number[]> | undefined,
): number {
  const [rows = 0, columns = 0] = shapes?.get("tok_embeddings.weight") ?? [];
  const [, perRank = 0] = shapes?.get("layers.0.attention.wo.weight") ?? [];
  if (rows === 0 || perRank === 0)
    return params.fail("vocab_size", "a positive integer, as no tensors are there to tell it");
  return columns === dim ? (rows * dim) / perRank : rows;
}

function scalingFactor(params: ConfigReader, dim: number, nLayers: number): number {
  const given = params.optional("rope_scaling_factor", params.number);
  return given ?? (LLAMA32_SIZES.some((size) => `${size}` === `${[dim, nLayers]}`) ? LLAMA32_FACTOR : SCALING_FACTOR);
}

/** CONTEXT_LENGTH_FOR_VERSION of the transformers script; 16384 for Code Llama. */
function maxPositions(theta: number, scaled: boolean): number {
  if (scaled) return 131_072;
  if (theta === LLAMA3_THETA) return 8192;
  return theta > 10_000 ? 16_384 : 4096;
}

/** Throws InputError CONFIG_UNSUPPORTED for what Meta's model cannot compute. */
export function paramsOf(config: Llama3Config): JsonObject {
  const { dim, nHeads, headDim, rope } = config;
  const { attentionBias: attention_bias, mlpBias: mlp_bias } = config;
  for (const [field, isThere] of Object.entries({ attention_bias, mlp_bias }))
    if (isThere) throw unsupported(field, true, "no linear map of Meta's has a bias");
  if (headDim !== dim / nHeads) throw unsupported("head_dim", headDim, `it is ${dim / nHeads} there`);
  return {
    dim,
    n_layers: config.nLayers,
    n_heads: nHeads,
    n_kv_heads: config.nKvHeads,
    vocab_size: config.vocabSize,
    ...ffnFields(dim, config.ffnDim),
    norm_eps: config.normEps,
    rope_theta: rope.theta,
    ...scalingFields(rope, config),
  };
}

/** The plainest numbers that give the size. */
function ffnFields(dim: number, size: number): JsonObject {
  const base = Math.trunc((2 * 4 * dim) / 3);
  const multiples = [256, 1024, 4096, 512, 2048, 128, 64, 32, 16, 8, 4, 2, 1].filter((each) => size % each === 0);
  const plain = multiples.find((each) => ffnDim(dim, 1, each) === size);
  if (plain !== undefined) return { multiple_of: plain };
  for (let digits = 1; digits < 6; digits++) {
    const multiplier = Number((size / base).toFixed(digits));
    const multiple = multiples.find((each) => ffnDim(dim, multiplier, each) === size);
    if (multiple !== undefined) return { multiple_of: multiple, ffn_dim_multiplier: multiplier };
  }
  return { multiple_of: 1, ffn_dim_multiplier: (size + 0.5) / base };
}

function scalingFields(rope: RopeSpec, { dim, nLayers }: Llama3Config): JsonObject {
  if (rope.kind === "default") return isLlama3({ rope }) ? { use_scaled_rope: false } : {};
  if (rope.kind !== "llama3") throw unsupported("rope_type", rope.kind, "it has Llama 3.1's scaling or none");
  const there = hfRopeParameters({ ...rope, ...SCALING });
  for (const [field, value] of Object.entries(hfRopeParameters(rope)))
    if (value !== there[field]) throw unsupported(field, value, `it is ${there[field]} there`);
  const implied = scalingFactor(new ConfigReader({}, PARAMS_NAME), dim, nLayers);
  return { use_scaled_rope: true, ...(rope.factor === implied ? {} : { rope_scaling_factor: rope.factor }) };
}

/** @param field as config.json has it */
const unsupported = (field: string, value: unknown, why: string): InputError =>
  new InputError("CONFIG_UNSUPPORTED", `${PARAMS_NAME} cannot say "${field}": ${JSON.stringify(value)}: ${why}`, {
    file: PARAMS_NAME,
    expected: "a config that Meta's model code can run",
    found: `"${field}": ${JSON.stringify(value)}`,
    help: "convert to another layout",
  });

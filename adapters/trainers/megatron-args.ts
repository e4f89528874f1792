// Arguments of Megatron-LM as fields of Hugging Face's config.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/training/arguments.py
import { InputError } from "../../src/base/errors.ts";
import type { JsonObject } from "../../src/base/json.ts";
import type { RunConfig } from "../../src/family/layout.ts";
import { expertFields, latentFields, yarnOf } from "./megatron-moe-args.ts";

/** Fields under one name on each side: a number on both. */
const NUMBERS: readonly (readonly [argument: string, field: string])[] = [
  ["num_layers", "num_hidden_layers"],
  ["hidden_size", "hidden_size"],
  ["ffn_hidden_size", "intermediate_size"],
  ["num_attention_heads", "num_attention_heads"],
  ["kv_channels", "head_dim"],
  ["max_position_embeddings", "max_position_embeddings"],
  ["norm_epsilon", "rms_norm_eps"],
  ["layernorm_epsilon", "rms_norm_eps"],
  ["num_experts", "num_experts"],
  ["num_moe_experts", "num_experts"],
  ["moe_router_topk", "num_experts_per_tok"],
  ["moe_ffn_hidden_size", "moe_intermediate_size"],
];

/** Without these a config would be made of defaults. */
const NEEDED = [
  "num_hidden_layers",
  "hidden_size",
  "intermediate_size",
  "num_attention_heads",
  "rms_norm_eps",
  "rope_parameters",
] as const;

/** What the arguments say of one family alone. */
export interface OwnArguments {
  /** Fields that its config has, or has in another sense. */
  readonly fields?: (args: JsonObject) => JsonObject;
  /** Of a config of text alone; the family's first unless given. */
  readonly modelType?: string;
  /** Whether its norms multiply by 1 + weight. */
  readonly centredNorms?: boolean;
  /** Whether its config has the decoder's fields in an object of their own: a run's arguments make none, and are not compared. */
  readonly isNested?: boolean;
}

/** What the arguments of a run say of the model. Throws InputError CONFIG_UNSUPPORTED for one that the tables misread. */
export function megatronConfigOf(args: JsonObject, where: string, own: OwnArguments = {}): RunConfig {
  checkWeights(args, where, own.centredNorms ?? false);
  const fields: Record<string, unknown> = {};
  for (const [argument, field] of NUMBERS) if (typeof args[argument] === "number") fields[field] = args[argument];
  const keyHeads = args.group_query_attention === false ? args.num_attention_heads : args.num_query_groups;
  if (typeof keyHeads === "number") fields.num_key_value_heads = keyHeads;
  if (typeof args.untie_embeddings_and_output_weights === "boolean")
    fields.tie_word_embeddings = !args.untie_embeddings_and_output_weights;
  const biases = [args.add_bias_linear, args.add_qkv_bias].filter((each) => typeof each === "boolean");
  if (biases.length > 0) fields.attention_bias = biases.includes(true);
  if (typeof args.add_bias_linear === "boolean") fields.mlp_bias = args.add_bias_linear;
  if (args.swiglu === true) fields.hidden_act = "silu";
  if (typeof args.rotary_base === "number") {
    const rope = ropeOf(args, args.rotary_base);
    if (rope !== undefined) fields.rope_parameters = rope;
  }
  Object.assign(fields, expertFields(args), latentFields(args), own.fields?.(args));
  const rows = args.padded_vocab_size ?? args.vocab_size;
  const dtype = args.bf16 === true ? "bfloat16" : args.fp16 === true ? "float16" : "float32";
  const [vocabulary, isPadded] = [vocabularyOf(args), rows === args.padded_vocab_size];
  if (own.isNested === true) {
    const { tie_word_embeddings: tied } = fields;
    return { fields: tied === undefined ? {} : { tie_word_embeddings: tied }, whole: null, isPadded, vocabulary };
  }
  const typed = own.modelType === undefined ? {} : { model_type: own.modelType };
  const whole = NEEDED.every((field) => field in fields) && typeof rows === "number";
  return {
    fields,
    whole: whole ? { ...typed, ...fields, vocab_size: rows, dtype } : null,
    isPadded,
    vocabulary,
  };
}

/** What gives the weights another meaning, in the same shapes. */
function checkWeights(args: JsonObject, where: string, centredNorms: boolean): void {
  const isLatent = args.multi_latent_attention === true;
  const expected = { apply_layernorm_1p: centredNorms, ...(isLatent ? {} : { rotary_interleaved: false }) };
  for (const [name, value] of Object.entries(expected)) {
    if (typeof args[name] !== "boolean" || args[name] === value) continue;
    throw new InputError(
      "CONFIG_UNSUPPORTED",
      `${where}: the run had ${name} ${args[name]}: its weights mean another thing`,
      {
        file: where,
        expected: `${name} ${value}, as in Hugging Face's models of this family`,
        found: `${name} ${args[name]}`,
        help: `check that this is the model meant: no Hugging Face model of this family has weights of a run with ${name} ${args[name]}`,
      },
    );
  }
}

/** Llama 3.1's scaling has its constants in the source; only the factor is an argument. */
function ropeOf(args: JsonObject, theta: number): JsonObject | undefined {
  const yarn = yarnOf(args, theta);
  if (yarn === undefined) return undefined;
  const isPart = typeof args.rotary_percent === "number" && args.multi_latent_attention !== true;
  return { ...(yarn ?? scaledRope(args, theta)), ...(isPart ? { partial_rotary_factor: args.rotary_percent } : {}) };
}

function scaledRope(args: JsonObject, theta: number): JsonObject {
  return args.use_rope_scaling === true
    ? {
        rope_type: "llama3",
        rope_theta: theta,
        factor: typeof args.rope_scaling_factor === "number" ? args.rope_scaling_factor : 8,
        low_freq_factor: 1,
        high_freq_factor: 4,
        original_max_position_embeddings: 8192,
      }
    : { rope_type: "default", rope_theta: theta };
}

/** `_vocab_size_with_padding`: rows are a multiple of `make_vocab_size_divisible_by` times the ranks of tensor parallelism. */
function vocabularyOf(args: JsonObject): RunConfig["vocabulary"] {
  const [rows, divisor, ranks] = [
    args.padded_vocab_size,
    args.make_vocab_size_divisible_by,
    args.tensor_model_parallel_size,
  ];
  if (typeof rows !== "number" || typeof divisor !== "number" || typeof ranks !== "number") return null;
  return { rows, multiple: divisor * ranks };
}

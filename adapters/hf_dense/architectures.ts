// Dense architectures of transformers that torchtitan's transformers backend runs as they are: the backend holds
// transformers' own module, so that its keys are HF's after `model.`. Each was built by that backend, and its keys
// compared: fixtures/generate/dense_architectures.py.
//   huggingface/transformers@v5.23.0:src/transformers/models/auto/modeling_auto.py, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

export interface Architecture {
  /** Default of `tie_word_embeddings`. */
  readonly tied: boolean;
  /** Whether the class has, by default, biases that the backend leaves out. */
  readonly biased: boolean;
  /** Tensors that every layer has, whatever the config says. */
  readonly layer: readonly string[];
  /** Tensors outside the layers beside embedding and head, by HF key, with their dims. */
  readonly rest: Readonly<Record<string, string>>;
}

const of = (module: string, names: string, kind = "weight") =>
  names.split(" ").map((name) => `${module}${name}.${kind}`);
const QKV = of("self_attn.", "q_proj k_proj v_proj");
const ATTENTION = [...QKV, "self_attn.o_proj.weight"];
const GATED = of("mlp.", "gate_proj up_proj down_proj");
const FUSED = of("mlp.", "gate_up_proj down_proj");
const UNGATED = of("mlp.", "up_proj down_proj");
const PRE = of("", "input_layernorm");
const PRE_NORMS = [...PRE, ...of("", "post_attention_layernorm")];
const POST_NORMS = of("", "post_attention_layernorm post_feedforward_layernorm");
const QK_NORMS = of("self_attn.", "q_norm k_norm");
const LATENT = of("self_attn.", "kv_a_layernorm kv_a_proj_with_mqa kv_b_proj o_proj");
const LLAMA = [...ATTENTION, ...GATED, ...PRE_NORMS];

const NORM = { "model.norm.weight": "d" };
const LAYER_NORM = { ...NORM, "model.norm.bias": "d" };
const FINAL_LAYER_NORM = { "model.final_layernorm.weight": "d", "model.final_layernorm.bias": "d" };

const named = (modelTypes: string, fields: Partial<Architecture> = {}): [string, Architecture][] =>
  modelTypes.split(" ").map((type) => [type, { tied: false, biased: false, layer: LLAMA, rest: NORM, ...fields }]);

/** By `model_type`. */
export const ARCHITECTURES: ReadonlyMap<string, Architecture> = new Map([
  ...named("bitnet cwm diffllama doge granite helium hunyuan_v1_dense hyperclovax internlm3 iquestcoder"),
  ...named("ministral ministral3 mistral"),
  ...named("ernie4_5 gemma granite_swa smollm3", { tied: true }),
  ...named("gemma2", {
    tied: true,
    layer: [...LLAMA, ...of("", "pre_feedforward_layernorm post_feedforward_layernorm")],
  }),
  ...named("gemma3_text", {
    tied: true,
    layer: [...LLAMA, ...QK_NORMS, ...of("", "pre_feedforward_layernorm post_feedforward_layernorm")],
  }),
  ...named("vaultgemma", {
    tied: true,
    layer: [...ATTENTION, ...GATED, ...PRE, ...of("", "pre_feedforward_layernorm")],
  }),
  ...named("apertus", {
    layer: [...ATTENTION, ...UNGATED, ...QK_NORMS, ...of("", "attention_layernorm feedforward_layernorm")],
  }),
  ...named("arcee", { layer: [...ATTENTION, ...UNGATED, ...PRE_NORMS] }),
  ...named("cohere cohere2", { tied: true, layer: [...ATTENTION, ...GATED, ...PRE] }),
  ...named("exaone4 olmo2 olmo3", { layer: [...ATTENTION, ...GATED, ...QK_NORMS, ...POST_NORMS] }),
  ...named("minicpm3 youtu", { tied: true, layer: [...LATENT, ...GATED, ...PRE_NORMS] }),
  ...named("qwen2", { layer: [...LLAMA, ...of("self_attn.", "q_proj k_proj v_proj", "bias")] }),
  ...named("phi3", {
    layer: [...of("self_attn.", "qkv_proj o_proj"), ...FUSED, ...PRE_NORMS],
  }),
  ...named("seed_oss", { biased: true }),
  ...named("glm", { biased: true, layer: [...ATTENTION, ...FUSED, ...PRE_NORMS] }),
  ...named("glm4", {
    biased: true,
    layer: [...ATTENTION, ...FUSED, ...PRE_NORMS, ...of("", "post_self_attn_layernorm post_mlp_layernorm")],
  }),
  ...named("jais2", { biased: true, rest: LAYER_NORM, layer: [...ATTENTION, ...UNGATED, ...PRE_NORMS] }),
  ...named("nemotron", { rest: LAYER_NORM, layer: [...ATTENTION, ...UNGATED, ...PRE_NORMS] }),
  ...named("stablelm", { rest: LAYER_NORM, layer: [...ATTENTION, ...GATED, ...PRE] }),
  ...named("starcoder2", {
    tied: true,
    rest: LAYER_NORM,
    layer: [...ATTENTION, ...of("mlp.", "c_fc c_proj"), ...PRE_NORMS],
  }),
  ...named("persimmon", {
    rest: FINAL_LAYER_NORM,
    layer: [...of("self_attn.", "query_key_value dense"), ...of("mlp.", "dense_h_to_4h dense_4h_to_h"), ...PRE_NORMS],
  }),
  ...named("phi", {
    rest: { ...FINAL_LAYER_NORM, "lm_head.bias": "v" },
    layer: [...QKV, ...of("self_attn.", "dense"), ...of("mlp.", "fc1 fc2"), ...PRE],
  }),
  ...named("nanochat", { rest: {}, layer: [...ATTENTION, ...of("mlp.", "fc1 fc2")] }),
  ...named("olmo", { rest: {}, layer: [...ATTENTION, ...GATED] }),
]);

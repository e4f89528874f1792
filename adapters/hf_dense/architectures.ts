// Dense architectures of transformers that torchtitan's transformers backend runs as they are: the backend holds
// transformers' own module, so that its keys are HF's after `model.`. Each was built by that backend, and its keys
// compared: fixtures/generate/dense_architectures.py.
//   huggingface/transformers@v5.23.0:src/transformers/models/auto/modeling_auto.py, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

export interface Architecture {
  /** Whether head and embedding are one where the config is silent. */
  readonly tied: boolean;
  /** Whether the class has biases that the backend leaves out, where the config is silent. */
  readonly biased: boolean;
  /** Tensors outside the layers beside embedding and head, by HF key, with their dims. */
  readonly rest: Readonly<Record<string, string>>;
}

const NORM = { "model.norm.weight": "d" };
const LAYER_NORM = { ...NORM, "model.norm.bias": "d" };
const FINAL_LAYER_NORM = { "model.final_layernorm.weight": "d", "model.final_layernorm.bias": "d" };

const named = (modelTypes: string, fields: Partial<Architecture> = {}): [string, Architecture][] =>
  modelTypes.split(" ").map((type) => [type, { tied: false, biased: false, rest: NORM, ...fields }]);

/** By `model_type`. */
export const ARCHITECTURES: ReadonlyMap<string, Architecture> = new Map([
  ...named("apertus arcee bitnet cwm diffllama doge exaone4 granite helium hunyuan_v1_dense hyperclovax internlm3"),
  ...named("iquestcoder ministral ministral3 mistral olmo2 olmo3 phi3 qwen2"),
  ...named("cohere cohere2 ernie4_5 gemma gemma2 gemma3_text granite_swa minicpm3 smollm3 vaultgemma youtu", {
    tied: true,
  }),
  ...named("glm glm4 seed_oss", { biased: true }),
  ...named("jais2", { biased: true, rest: LAYER_NORM }),
  ...named("nemotron stablelm", { rest: LAYER_NORM }),
  ...named("starcoder2", { tied: true, rest: LAYER_NORM }),
  ...named("persimmon", { rest: FINAL_LAYER_NORM }),
  ...named("phi", { rest: { ...FINAL_LAYER_NORM, "lm_head.bias": "v" } }),
  ...named("nanochat olmo", { rest: {} }),
]);

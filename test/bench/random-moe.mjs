// Models with experts and random weights as Hugging Face stores them: some 1.2 GB each in two layers or fewer, with matrices of
// the sizes that published models have.
import { writeRandomModel } from "./random-model.mjs";

const of = (dtype, words) => (key, shape) => ({ key, dtype, shape, ...(words && { words }) });
const bf16 = of("BF16");

/** What all of them have: embeddings, norms, attention. */
function around({ layers, dim, heads, kvHeads, head, vocab }, { biases = false, qkNorm = false } = {}) {
  const list = [
    bf16("model.embed_tokens.weight", [vocab, dim]),
    bf16("model.norm.weight", [dim]),
    bf16("lm_head.weight", [vocab, dim]),
  ];
  for (let l = 0; l < layers; l++) {
    const p = `model.layers.${l}`;
    list.push(bf16(`${p}.input_layernorm.weight`, [dim]), bf16(`${p}.post_attention_layernorm.weight`, [dim]));
    for (const [name, rows] of [
      ["q_proj", heads * head],
      ["k_proj", kvHeads * head],
      ["v_proj", kvHeads * head],
    ]) {
      list.push(bf16(`${p}.self_attn.${name}.weight`, [rows, dim]));
      if (biases) list.push(bf16(`${p}.self_attn.${name}.bias`, [rows]));
    }
    list.push(bf16(`${p}.self_attn.o_proj.weight`, [dim, heads * head]));
    if (biases) list.push(bf16(`${p}.self_attn.o_proj.bias`, [dim]), bf16(`${p}.self_attn.sinks`, [heads]));
    if (qkNorm) list.push(...["q", "k"].map((name) => bf16(`${p}.self_attn.${name}_norm.weight`, [head])));
  }
  return list;
}

const common = ({ layers, dim, heads, kvHeads, head, vocab, experts }) => ({
  vocab_size: vocab,
  hidden_size: dim,
  num_hidden_layers: layers,
  num_attention_heads: heads,
  num_key_value_heads: kvHeads,
  head_dim: head,
  num_local_experts: experts,
  max_position_embeddings: 4096,
  rms_norm_eps: 1e-6,
  tie_word_embeddings: false,
  torch_dtype: "bfloat16",
});

const each = (count, make) => Array.from({ length: count }, (_, i) => make(i)).flat();

/** Experts alone in the files, stacked by trainers: runs of 3 MB, nothing transposed. */
function qwen3Moe() {
  const size = { layers: 1, dim: 2048, heads: 32, kvHeads: 4, head: 128, vocab: 1024, experts: 128, ffn: 768 };
  const { layers, dim, ffn, experts } = size;
  const config = {
    ...common(size),
    architectures: ["Qwen3MoeForCausalLM"],
    model_type: "qwen3_moe",
    intermediate_size: 6144,
    moe_intermediate_size: ffn,
    num_experts: experts,
    num_experts_per_tok: 8,
    decoder_sparse_step: 1,
    mlp_only_layers: [],
    norm_topk_prob: true,
    rope_theta: 1e6,
  };
  const tensors = each(layers, (l) => [
    bf16(`model.layers.${l}.mlp.gate.weight`, [experts, dim]),
    ...each(experts, (e) => {
      const p = `model.layers.${l}.mlp.experts.${e}`;
      return [
        bf16(`${p}.gate_proj.weight`, [ffn, dim]),
        bf16(`${p}.up_proj.weight`, [ffn, dim]),
        bf16(`${p}.down_proj.weight`, [dim, ffn]),
      ];
    }),
  ]);
  return { config, tensors: [...around(size, { qkNorm: true }), ...tensors] };
}

/** Matrices of 168 and 84 MB that trainers have transposed, gate and up side by side. */
function llama4() {
  const size = { layers: 1, dim: 5120, heads: 40, kvHeads: 8, head: 128, vocab: 1024, experts: 4, ffn: 8192 };
  const { layers, dim, ffn, experts } = size;
  const config = {
    ...common(size),
    architectures: ["Llama4ForCausalLM"],
    model_type: "llama4_text",
    intermediate_size: ffn,
    intermediate_size_mlp: 16384,
    interleave_moe_layer_step: 1,
    moe_layers: [0],
    num_experts_per_tok: 1,
    no_rope_layers: [1],
    attention_bias: false,
    use_qk_norm: false,
    attn_temperature_tuning: false,
    rope_theta: 500000,
  };
  const tensors = each(layers, (l) => {
    const p = `model.layers.${l}.feed_forward`;
    return [
      bf16(`${p}.router.weight`, [experts, dim]),
      bf16(`${p}.experts.gate_up_proj`, [experts, dim, 2 * ffn]),
      bf16(`${p}.experts.down_proj`, [experts, ffn, dim]),
      bf16(`${p}.shared_expert.gate_proj.weight`, [ffn, dim]),
      bf16(`${p}.shared_expert.up_proj.weight`, [ffn, dim]),
      bf16(`${p}.shared_expert.down_proj.weight`, [dim, ffn]),
    ];
  });
  return { config, tensors: [...around(size), ...tensors] };
}

const gptOssSize = { layers: 1, dim: 2880, heads: 64, kvHeads: 8, head: 64, vocab: 1024, experts: 24, ffn: 2880 };

function gptOss(matrix, size = gptOssSize) {
  const { layers, dim, ffn, experts } = size;
  const config = {
    ...common(size),
    architectures: ["GptOssForCausalLM"],
    model_type: "gpt_oss",
    intermediate_size: ffn,
    num_experts_per_tok: 4,
    attention_bias: true,
    sliding_window: 128,
    layer_types: ["sliding_attention", "full_attention"].slice(0, layers),
    rope_theta: 150000,
    swiglu_limit: 7,
    rope_scaling: {
      beta_fast: 32,
      beta_slow: 1,
      factor: 32,
      original_max_position_embeddings: 4096,
      rope_type: "yarn",
      truncate: false,
    },
  };
  const tensors = each(layers, (l) => {
    const p = `model.layers.${l}.mlp`;
    return [
      bf16(`${p}.router.weight`, [experts, dim]),
      bf16(`${p}.router.bias`, [experts]),
      ...matrix(`${p}.experts.gate_up_proj`, experts, 2 * ffn, dim),
      bf16(`${p}.experts.gate_up_proj_bias`, [experts, 2 * ffn]),
      ...matrix(`${p}.experts.down_proj`, experts, dim, ffn),
      bf16(`${p}.experts.down_proj_bias`, [experts, dim]),
    ];
  });
  return { config, tensors: [...around(size, { biases: true }), ...tensors] };
}

/** `out` and `width` as trainers have them: here they lie transposed. */
const transposed = (key, experts, out, width) => [bf16(key, [experts, width, out])];

const mxfp4 = (key, experts, out, width) => [
  of("U8")(`${key}_blocks`, [experts, out, width / 32, 16]),
  of("U8", "powers")(`${key}_scales`, [experts, out, width / 32]),
];

/** FP8 with a scale for each block of 128 × 128; experts alone in the files. */
function deepseek() {
  const size = { layers: 1, dim: 7168, heads: 16, kvHeads: 16, head: 192, vocab: 1024, experts: 12, ffn: 2048 };
  const { layers, dim, ffn, experts, heads } = size;
  const latent = { kv: 512, q: 1536, nope: 128, rope: 64, v: 128 };
  const { head_dim: _, num_local_experts: __, ...rest } = common(size);
  const config = {
    ...rest,
    architectures: ["DeepseekV3ForCausalLM"],
    model_type: "deepseek_v3",
    intermediate_size: 18432,
    moe_intermediate_size: ffn,
    num_nextn_predict_layers: 0,
    n_shared_experts: 1,
    n_routed_experts: experts,
    routed_scaling_factor: 2.5,
    kv_lora_rank: latent.kv,
    q_lora_rank: latent.q,
    qk_rope_head_dim: latent.rope,
    v_head_dim: latent.v,
    qk_nope_head_dim: latent.nope,
    topk_method: "noaux_tc",
    n_group: 2,
    topk_group: 1,
    num_experts_per_tok: 4,
    moe_layer_freq: 1,
    first_k_dense_replace: 0,
    norm_topk_prob: true,
    scoring_func: "sigmoid",
    hidden_act: "silu",
    rope_theta: 10000,
    attention_bias: false,
    quantization_config: {
      quant_method: "fp8",
      fmt: "e4m3",
      activation_scheme: "dynamic",
      weight_block_size: [128, 128],
    },
  };
  const fp8 = (key, [rows, columns]) => [
    of("F8_E4M3")(key, [rows, columns]),
    of("F32")(`${key}_scale_inv`, [Math.ceil(rows / 128), Math.ceil(columns / 128)]),
  ];
  const mlp = (p) => [
    ...fp8(`${p}.gate_proj.weight`, [ffn, size.dim]),
    ...fp8(`${p}.up_proj.weight`, [ffn, size.dim]),
    ...fp8(`${p}.down_proj.weight`, [size.dim, ffn]),
  ];
  const tensors = each(layers, (l) => {
    const p = `model.layers.${l}`;
    const attention = `${p}.self_attn`;
    return [
      bf16(`${p}.input_layernorm.weight`, [dim]),
      bf16(`${p}.post_attention_layernorm.weight`, [dim]),
      ...fp8(`${attention}.q_a_proj.weight`, [latent.q, dim]),
      bf16(`${attention}.q_a_layernorm.weight`, [latent.q]),
      ...fp8(`${attention}.q_b_proj.weight`, [heads * (latent.nope + latent.rope), latent.q]),
      ...fp8(`${attention}.kv_a_proj_with_mqa.weight`, [latent.kv + latent.rope, dim]),
      bf16(`${attention}.kv_a_layernorm.weight`, [latent.kv]),
      ...fp8(`${attention}.kv_b_proj.weight`, [heads * (latent.nope + latent.v), latent.kv]),
      ...fp8(`${attention}.o_proj.weight`, [dim, heads * latent.v]),
      bf16(`${p}.mlp.gate.weight`, [experts, dim]),
      of("F32")(`${p}.mlp.gate.e_score_correction_bias`, [experts]),
      ...mlp(`${p}.mlp.shared_experts`),
      ...each(experts, (e) => mlp(`${p}.mlp.experts.${e}`)),
    ];
  });
  const ends = around(size).filter(({ key }) => !key.includes(".layers."));
  return { config, tensors: [...ends, ...tensors] };
}

/** By name. */
export const MODELS = {
  stacked: qwen3Moe,
  llama4,
  gptoss: () => gptOss(transposed),
  mxfp4: () => {
    const { config, tensors } = gptOss(mxfp4);
    return { config: { ...config, quantization_config: { quant_method: "mxfp4" } }, tensors };
  },
  fp8: deepseek,
};

export function writeRandomMoe(directory, name) {
  const { config, tensors } = MODELS[name]();
  return writeRandomModel(directory, config, tensors);
}

// A Llama with random weights as Hugging Face stores it, bf16.
import { writeRandomModel } from "./random-model.mjs";

/** Keys and shapes, sorted by key. */
export function shapes({ dim, ffn, vocab, layers, heads, kvHeads, tied }) {
  const head = dim / heads;
  const list = [
    ["model.embed_tokens.weight", [vocab, dim]],
    ["model.norm.weight", [dim]],
  ];
  if (!tied) list.push(["lm_head.weight", [vocab, dim]]);
  for (let l = 0; l < layers; l++) {
    const p = `model.layers.${l}`;
    list.push(
      [`${p}.input_layernorm.weight`, [dim]],
      [`${p}.post_attention_layernorm.weight`, [dim]],
      [`${p}.self_attn.q_proj.weight`, [heads * head, dim]],
      [`${p}.self_attn.k_proj.weight`, [kvHeads * head, dim]],
      [`${p}.self_attn.v_proj.weight`, [kvHeads * head, dim]],
      [`${p}.self_attn.o_proj.weight`, [dim, heads * head]],
      [`${p}.mlp.gate_proj.weight`, [ffn, dim]],
      [`${p}.mlp.up_proj.weight`, [ffn, dim]],
      [`${p}.mlp.down_proj.weight`, [dim, ffn]],
    );
  }
  return list.sort(([a], [b]) => (a < b ? -1 : 1));
}

export function configOf(model) {
  return {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    vocab_size: model.vocab,
    hidden_size: model.dim,
    intermediate_size: model.ffn,
    num_hidden_layers: model.layers,
    num_attention_heads: model.heads,
    num_key_value_heads: model.kvHeads,
    max_position_embeddings: 2048,
    rms_norm_eps: 1e-5,
    rope_theta: 500000,
    tie_word_embeddings: model.tied,
    torch_dtype: "bfloat16",
  };
}

/** Writes config.json and model.safetensors to a new directory; returns the number of parameters. */
export const writeRandomLlama = (directory, model) =>
  writeRandomModel(
    directory,
    configOf(model),
    shapes(model).map(([key, shape]) => ({ key, dtype: "BF16", shape })),
  ) / 2;

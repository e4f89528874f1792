// A Llama with random weights as Hugging Face stores it, bf16, written a block at a time.
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";

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

/** Fills with bf16 values in ±[2⁻⁸, 2⁻⁴): sign and low bits from xorshift32. */
export function fillRandom(block, state = { x: 2463534242 }) {
  let { x } = state;
  for (let i = 0; i < block.length; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    block[i] = (x & 0x8000) | 0x3b80 | (x & 0x1ff);
  }
  state.x = x;
}

/** Writes config.json and model.safetensors to a new directory; returns the number of parameters. */
export function writeRandomLlama(directory, model) {
  mkdirSync(directory);
  writeFileSync(join(directory, "config.json"), JSON.stringify(configOf(model)));
  const header = { __metadata__: { format: "pt" } };
  let offset = 0;
  for (const [key, shape] of shapes(model)) {
    const bytes = 2 * shape.reduce((a, b) => a * b, 1);
    header[key] = { dtype: "BF16", shape, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  let text = JSON.stringify(header);
  text += " ".repeat((8 - (text.length % 8)) % 8);
  const file = openSync(join(directory, "model.safetensors"), "wx");
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  writeSync(file, length);
  writeSync(file, text);
  const block = new Uint16Array(1 << 20);
  const state = { x: 2463534242 };
  for (let left = offset / 2; left > 0; ) {
    const values = block.subarray(0, Math.min(left, block.length));
    fillRandom(values, state);
    writeSync(file, new Uint8Array(block.buffer, 0, 2 * values.length));
    left -= values.length;
  }
  closeSync(file);
  return offset / 2;
}

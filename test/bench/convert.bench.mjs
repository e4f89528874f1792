// A 1.5 GB bf16 Llama (10 layers, dim 2048, ffn 8192, vocab 32000) both ways: time as a ratio to `cp` of the same bytes
// in the same run, and peak resident memory. Target: at most 250 MB.
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { command, measure, median } from "./measure.mjs";

const dim = 2048;
const ffn = 8192;
const vocab = 32000;
const layers = 10;
const heads = 16;
const kvHeads = 8;

function shapes() {
  const head = dim / heads;
  const list = [
    ["model.embed_tokens.weight", [vocab, dim]],
    ["lm_head.weight", [vocab, dim]],
    ["model.norm.weight", [dim]],
  ];
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

function writeModel(directory) {
  mkdirSync(directory);
  const config = {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    vocab_size: vocab,
    hidden_size: dim,
    intermediate_size: ffn,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
    max_position_embeddings: 2048,
    rms_norm_eps: 1e-5,
    rope_theta: 500000,
    tie_word_embeddings: false,
    torch_dtype: "bfloat16",
  };
  writeFileSync(join(directory, "config.json"), JSON.stringify(config));
  const header = { __metadata__: { format: "pt" } };
  let offset = 0;
  for (const [key, shape] of shapes()) {
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
  // bf16 values in ±[2⁻⁸, 2⁻⁴): sign and low bits from xorshift32
  const block = new Uint16Array(1 << 20);
  let x = 2463534242;
  for (let left = offset / 2; left > 0; ) {
    const n = Math.min(left, block.length);
    for (let i = 0; i < n; i++) {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      block[i] = (x & 0x8000) | 0x3b80 | (x & 0x1ff);
    }
    writeSync(file, new Uint8Array(block.buffer, 0, 2 * n));
    left -= n;
  }
  closeSync(file);
  return offset;
}

export async function run() {
  const directory = mkdtempSync(join(tmpdir(), "convert-checkpoint-bench-"));
  try {
    const hf = join(directory, "hf");
    const bytes = writeModel(hf);
    console.log(`${(bytes / 1e9).toFixed(2)} GB bf16`);
    const ratios = { "HF → DCP": [], "DCP → HF": [] };
    const peaks = { "HF → DCP": 0, "DCP → HF": 0 };
    for (let round = 0; round < 3; round++) {
      const steps = [
        ["HF → DCP", hf, join(directory, "dcp")],
        ["DCP → HF", join(directory, "dcp"), join(directory, "back")],
      ];
      for (const [name, from, to] of steps) {
        const copy = await measure("cp", ["-r", from, join(directory, "copy")]);
        rmSync(join(directory, "copy"), { recursive: true });
        const ours = await measure(process.execPath, [command, from, to, "--quiet", "--no-fsync"]);
        ratios[name].push(ours.seconds / copy.seconds);
        peaks[name] = Math.max(peaks[name], ours.peakBytes);
        console.log(`${name}: ${ours.seconds.toFixed(2)} s, cp ${copy.seconds.toFixed(2)} s`);
      }
      const same = await measure("cmp", [join(hf, "model.safetensors"), join(directory, "back", "model.safetensors")]);
      if (same.out !== "") throw new Error("the file did not come back byte for byte");
      rmSync(join(directory, "dcp"), { recursive: true });
      rmSync(join(directory, "back"), { recursive: true });
    }
    for (const name of Object.keys(ratios)) {
      const peak = (peaks[name] / 1e6).toFixed(0);
      console.log(`${name}: median ${median(ratios[name]).toFixed(2)}× cp, peak resident memory ${peak} MB`);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

// DeepSeek-V3 as the Hub has it (688 GB: 61 layers, 256 experts, an MTP layer; FP8 with scales), in sparse files: headers,
// index and config are real, every weight is a hole. For what reads headers alone.
import { closeSync, ftruncateSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { deepseekV3 } from "../../dist/adapters/deepseek_v3/index.js";
import { planSafetensors } from "../../dist/src/formats/safetensors/write.js";
import { compileTable } from "../../dist/src/table/plan.js";

const BLOCK = 128;
const QUANTISED = /_proj(?:_with_mqa)?\.weight$/;

export const deepseekConfig = {
  architectures: ["DeepseekV3ForCausalLM"],
  model_type: "deepseek_v3",
  vocab_size: 129280,
  hidden_size: 7168,
  intermediate_size: 18432,
  moe_intermediate_size: 2048,
  num_hidden_layers: 61,
  num_nextn_predict_layers: 1,
  num_attention_heads: 128,
  num_key_value_heads: 128,
  n_shared_experts: 1,
  n_routed_experts: 256,
  routed_scaling_factor: 2.5,
  kv_lora_rank: 512,
  q_lora_rank: 1536,
  qk_rope_head_dim: 64,
  v_head_dim: 128,
  qk_nope_head_dim: 128,
  topk_method: "noaux_tc",
  n_group: 8,
  topk_group: 4,
  num_experts_per_tok: 8,
  moe_layer_freq: 1,
  first_k_dense_replace: 3,
  norm_topk_prob: true,
  scoring_func: "sigmoid",
  hidden_act: "silu",
  max_position_embeddings: 163840,
  rms_norm_eps: 1e-6,
  tie_word_embeddings: false,
  rope_theta: 10000,
  rope_scaling: {
    beta_fast: 32,
    beta_slow: 1,
    factor: 40,
    mscale: 1,
    mscale_all_dim: 1,
    original_max_position_embeddings: 4096,
    type: "yarn",
  },
  attention_bias: false,
  attention_dropout: 0,
  torch_dtype: "bfloat16",
};

/** A config as it is, with the sizes given in place of its own. */
const withSizes = (sizes) => ({ ...deepseekConfig, ...sizes });

/** As the files store them: an FP8 matrix and its scales for each linear map, and what stays as it is. */
function storedTensors(config, fp8) {
  const [layout] = deepseekV3.open(config, "config.json").layouts;
  const tensors = compileTable(layout.rules(), layout.axes()).tensors("hf");
  return tensors.flatMap(({ key, shape, need }) => {
    if (need === "dropped") return [];
    const isBias = key.endsWith("e_score_correction_bias");
    if (!fp8 || !QUANTISED.test(key) || key.endsWith("eh_proj.weight"))
      return [{ key, dtype: isBias ? "F32" : "BF16", shape }];
    const scales = shape.map((size) => Math.ceil(size / BLOCK));
    return [
      { key, dtype: "F8_E4M3", shape },
      { key: `${key}_scale_inv`, dtype: "F32", shape: scales },
    ];
  });
}

/** Writes the repository; returns the number of its tensors and files and their bytes. */
export function writeLargeDeepseek(directory, { sizes = {}, fp8 = true, maxShardSize = 4.3e9 } = {}) {
  const config = withSizes(sizes);
  const quantised = {
    quant_method: "fp8",
    fmt: "e4m3",
    activation_scheme: "dynamic",
    weight_block_size: [BLOCK, BLOCK],
  };
  const tensors = storedTensors(config, fp8);
  const files = planSafetensors(tensors, { metadata: { format: "pt" }, maxShardSize });
  mkdirSync(directory, { recursive: true });
  let bytes = 0;
  for (const { name, byteLength, parts } of files) {
    const file = openSync(join(directory, name), "w");
    for (const part of parts) if (part.kind === "bytes") writeSync(file, part.bytes);
    ftruncateSync(file, byteLength);
    closeSync(file);
    bytes += byteLength;
  }
  const text = JSON.stringify(fp8 ? { ...config, quantization_config: quantised } : config, null, 2);
  writeFileSync(join(directory, "config.json"), `${text}\n`);
  return { tensors: tensors.length, files: files.length - 1, bytes };
}

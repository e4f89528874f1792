// Why some tensors keep their element type when all weights are cast.

/**
 * Its logits are computed in F32 on both sides:
 *   pytorch/torchtitan@v0.3.0:torchtitan/models/common/moe.py#L297-L299
 *   huggingface/transformers@v5.23.0:src/transformers/models/deepseek_v3/modeling_deepseek_v3.py#L135
 */
export const ROUTER = "the router chooses experts by scores computed in F32";

/**
 * A buffer in F32, or `_keep_in_fp32_modules_strict`:
 *   pytorch/torchtitan@v0.3.0:torchtitan/models/common/moe.py#L470-L477
 *   huggingface/transformers@v5.23.0:src/transformers/models/deepseek_v3/modeling_deepseek_v3.py#L550
 */
export const EXPERT_BIAS = "the load-balancing bias moves in steps that other types round away";

/**
 * exp(A_log) is computed in F32, and the Hub's files store A_log in F32:
 *   pytorch/torchtitan@v0.3.0:torchtitan/models/qwen3_5/model.py#L466
 *   huggingface/transformers@v5.23.0:src/transformers/models/qwen3_5/modeling_qwen3_5.py#L616
 */
export const DECAY = "a delta net's decay is the exponential of it, computed in F32";

/**
 * The Hub's Qwen3.5 files keep it in F32 beside weights in BF16:
 *   pytorch/torchtitan@v0.3.0:torchtitan/models/qwen3_5/model.py#L158-L164
 *   huggingface/transformers@v5.23.0:src/transformers/models/qwen3_5/modeling_qwen3_5.py#L212-L217
 */
export const STATE_NORM = "a delta net's outputs are normalised in F32";

// Where versions of upstream disagree on DeepSeek-V3.
import type { UpstreamChange } from "../../src/family/upstream.ts";

/** `_keep_in_fp32_modules_strict` of 5.24 names `gate.weight`: a bf16 model is loaded and saved with an F32 router. */
export const ROUTER_IN_TRANSFORMERS = {
  code: "ROUTER_TYPE_IN_TRANSFORMERS",
  project: "transformers",
  lastBefore: "5.23",
  release: "5.24",
  day: "2026-11-21",
  stores: { ending: ".mlp.gate.weight", dtype: "F32" },
  before: "loads and saves the router in the type of the model",
  after: "loads and saves the router in F32, whatever the type of the model",
  permalink:
    "https://github.com/huggingface/transformers/blob/v5.24.0/src/transformers/models/deepseek_v3/modeling_deepseek_v3.py",
} as const satisfies UpstreamChange;

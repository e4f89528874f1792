// The built-in families.
import type { Adapter } from "../src/family/adapter.ts";
import { deepseekV3 } from "./deepseek_v3/index.ts";
import { glm4Moe } from "./glm4_moe/index.ts";
import { gptOss } from "./gpt_oss/index.ts";
import { hfDense } from "./hf_dense/index.ts";
import { kimiK27 } from "./kimi_k2_7/index.ts";
import { llama3 } from "./llama3/index.ts";
import { llama4 } from "./llama4/index.ts";
import { mixtral } from "./mixtral/index.ts";
import { museGlimmer } from "./muse_glimmer/index.ts";
import { qwen3 } from "./qwen3/index.ts";
import { qwen35, qwen35Moe } from "./qwen3_5/index.ts";
import { qwen3Moe } from "./qwen3_moe/index.ts";
import { qwen3Next } from "./qwen3_next/index.ts";
import { qwen3Vl, qwen3VlMoe } from "./qwen3_vl/index.ts";

export const adapters: readonly Adapter[] = [
  deepseekV3,
  glm4Moe,
  gptOss,
  hfDense,
  kimiK27,
  llama3,
  llama4,
  mixtral,
  museGlimmer,
  qwen3,
  qwen35,
  qwen35Moe,
  qwen3Moe,
  qwen3Next,
  qwen3Vl,
  qwen3VlMoe,
];

// gpt-oss as Megatron-Core's GPTModel runs it: `softmax_type="learnable"`, `quick_gelu`, and a window in every other layer.
//   NVIDIA-NeMo/Megatron-Bridge@067f987df03b8355b03192d88d70f1709fedf51a:src/megatron/bridge/models/gpt_oss/gpt_oss_bridge.py
import type { Forward, KnownDifference } from "../../numerics/graph.ts";
import { gptForward, gqa, megatronFrequencies } from "../trainers/megatron-graph.ts";
import { mixtureOfExperts, quickGeglu, softmaxRouter } from "../trainers/megatron-graph-moe.ts";
import type { GptOssConfig } from "./config.ts";

/** `quick_gelu` has it as a constant. */
const ALPHA = 1.702;

export const megatronForward = (config: GptOssConfig): Forward => forwardWith(config, ALPHA);

/** Where this forward pass is known to differ from transformers'. */
export const megatronDifferences = (config: GptOssConfig): readonly KnownDifference[] =>
  config.swigluAlpha === ALPHA
    ? []
    : [
        {
          code: "SWIGLU_ALPHA",
          explanation: `Megatron-Core's quick_gelu has alpha ${ALPHA}, the config ${config.swigluAlpha}`,
          source: "https://github.com/NVIDIA/Megatron-LM/blob/core_v0.16.1/megatron/core/fusions/fused_bias_geglu.py",
          fix: `set swiglu_alpha to ${ALPHA} if the model was trained with Megatron-Core`,
          undone: forwardWith(config, config.swigluAlpha),
        },
      ];

const forwardWith = (c: GptOssConfig, alpha: number): Forward =>
  gptForward({
    ...c,
    frequencies: megatronFrequencies(c.rope),
    attention: gqa({
      ...c,
      qkNorm: false,
      qkvBias: true,
      projectionBias: true,
      sinks: true,
      mask: (layer) => {
        const size = c.windows[layer] ?? null;
        return size === null ? { kind: "causal" } : { kind: "window", size };
      },
    }),
    mlp: mixtureOfExperts({
      normEps: c.normEps,
      router: softmaxRouter(c.expertsPerToken, false),
      activation: quickGeglu(c.swigluLimit, alpha),
      expertBias: false,
      bias: true,
      shared: false,
    }),
  });

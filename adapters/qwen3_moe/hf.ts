// Qwen3-MoE as transformers runs it. Suffixes name axes as in numerics/graph.ts; G is the ffn of an expert.
//   huggingface/transformers@v5.23.0:src/transformers/models/qwen3_moe/modeling_qwen3_moe.py
import type { Forward, Router } from "../../numerics/graph.ts";
import { ropeTable, transformersFrequencies } from "../../numerics/rope.ts";
import { softmax } from "../../numerics/routing.ts";
import type { Qwen3MoeConfig } from "./config.ts";

/**
 * Qwen3MoeTopKRouter: probabilities over all experts; those of the chosen ones are normalised to sum to 1 where the
 * config says so.
 */
const routerOf = ({ topK, normTopK }: Qwen3MoeConfig): Router => ({
  k: topK,
  select: (logits_E) => softmax(logits_E),
  weigh: (logits_E, experts) => {
    const probabilities = softmax(logits_E);
    const chosen = experts.map((e) => probabilities[e]!);
    const total = normTopK ? chosen.reduce((sum, p) => sum + p, 0) : 1;
    return chosen.map((p) => p / total);
  },
});

export function hfForward(config: Qwen3MoeConfig): Forward {
  const { nHeads, nKvHeads, headDim, normEps, attentionBias } = config;
  const frequencies = transformersFrequencies(config.rope);
  const router = routerOf(config);

  return function* (op, weight, { ids_T }) {
    const tokens = ids_T.length;
    const cosSin = ropeTable(frequencies, [...ids_T.keys()]);
    const w = (module: string) => weight(`${module}.weight`);
    const b = (module: string) => (attentionBias ? weight(`${module}.bias`) : undefined);
    const mlp = (x_TD: typeof hidden_TD, module: string) => {
      const gate_TF = op.map("silu", op.linear(x_TD, w(`${module}.gate_proj`)));
      return op.linear(op.mul(gate_TF, op.linear(x_TD, w(`${module}.up_proj`))), w(`${module}.down_proj`));
    };

    let hidden_TD = op.gather(w("model.embed_tokens"), ids_T);
    yield { name: "embed", value: hidden_TD };

    for (let l = 0; l < config.nLayers; l++) {
      const layer = `model.layers.${l}`;

      // Attention: softmax(rope(norm q) · rope(norm k)ᵀ · headDim^-½) · v
      const attention = `${layer}.self_attn`;
      const normed_TD = op.rmsNorm(hidden_TD, w(`${layer}.input_layernorm`), normEps);
      const heads = (name: string, count: number) =>
        op.reshape(op.linear(normed_TD, w(`${attention}.${name}`), b(`${attention}.${name}`)), [
          tokens,
          count,
          headDim,
        ]);
      const q_TNH = op.rmsNorm(heads("q_proj", nHeads), w(`${attention}.q_norm`), normEps);
      const k_TKH = op.rmsNorm(heads("k_proj", nKvHeads), w(`${attention}.k_norm`), normEps);
      const mixed_TNH = op.attention(
        op.rope(q_TNH, cosSin, "half"),
        op.rope(k_TKH, cosSin, "half"),
        heads("v_proj", nKvHeads),
        {
          scale: headDim ** -0.5,
          mask: config.window === null ? { kind: "causal" } : { kind: "window", size: config.window },
        },
      );
      const mixed_TI = op.reshape(mixed_TNH, [tokens, nHeads * headDim]);
      hidden_TD = op.add(hidden_TD, op.linear(mixed_TI, w(`${attention}.o_proj`), b(`${attention}.o_proj`)));
      yield { name: `layers.${l}.attn`, value: hidden_TD };

      // Feed-forward: Σ weight · down(silu(gate x) ⊙ up x) over the chosen experts, or one MLP
      const input_TD = op.rmsNorm(hidden_TD, w(`${layer}.post_attention_layernorm`), normEps);
      const ffn_TD = config.denseLayers.includes(l)
        ? mlp(input_TD, `${layer}.mlp`)
        : op.mixture(
            input_TD,
            {
              name: `layers.${l}`,
              logits_TE: op.linear(input_TD, w(`${layer}.mlp.gate`)),
              router,
              weighs: "output",
            },
            (x_nD, e) => mlp(x_nD, `${layer}.mlp.experts.${e}`),
          );
      hidden_TD = op.add(hidden_TD, ffn_TD);
      yield { name: `layers.${l}.ffn`, value: hidden_TD };
    }

    const last_TD = op.rmsNorm(hidden_TD, w("model.norm"), normEps);
    yield { name: "norm", value: last_TD };
    return op.linear(last_TD, w(config.tied ? "model.embed_tokens" : "lm_head"));
  };
}

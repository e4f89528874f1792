// GLM-4.5 to GLM-4.7 as torchtitan's transformers backend runs them: transformers' attention without biases, torchtitan's own
// mixture of experts, no layers that predict further tokens. Suffixes as in numerics/graph.ts; R rotated channels.
//   pytorch/torchtitan@v0.3.0:torchtitan/experiments/transformers_modeling_backend/{model,moe_replacement}.py
//   pytorch/torchtitan@v0.3.0:torchtitan/models/common/{moe,feed_forward}.py
import type { Forward, Router } from "../../numerics/graph.ts";
import { ropeTable, transformersFrequencies } from "../../numerics/rope.ts";
import { sigmoid, topK } from "../../numerics/routing.ts";
import type { Glm4MoeConfig } from "./config.ts";

/** TokenChoiceTopKRouter: sigmoid scores, biased and limited to groups for the choice, unbiased for the weights. */
function routerOf(config: Glm4MoeConfig): Router {
  const { nExperts: E, nGroups, groupsPerToken } = config;
  return {
    k: config.expertsPerToken,
    select(logits_E, bias_E) {
      const biased_E = logits_E.map((logit, e) => sigmoid(logit) + bias_E![e]!);
      const perGroup = E / nGroups;
      const bestTwo = Array.from({ length: nGroups }, (_, g) => {
        const [first, second] = [...biased_E.subarray(g * perGroup, (g + 1) * perGroup)].sort((a, b) => b - a);
        return first! + second!;
      });
      const limited = topK(bestTwo, groupsPerToken);
      return biased_E.map((score, e) =>
        limited.includes(Math.floor(e / perGroup)) ? score : Number.NEGATIVE_INFINITY,
      );
    },
    weigh(logits_E, experts) {
      const scores = experts.map((e) => sigmoid(logits_E[e]!));
      const denominator = config.normaliseWeights ? scores.reduce((sum, score) => sum + score, 0) + 1e-20 : 1;
      return scores.map((score) => (score / denominator) * config.routeScale);
    },
  };
}

export function nativeForward(config: Glm4MoeConfig): Forward {
  const { nHeads: N, nKvHeads: K, headDim: H, normEps } = config;
  const R = config.rope.dims;
  const router = routerOf(config);

  return function* (op, weight, { ids_T }) {
    const T = ids_T.length;
    const table = ropeTable(
      transformersFrequencies(config.rope),
      ids_T.map((_, t) => t),
    );
    let x_TD = op.gather(weight("model.model.embed_tokens.weight"), ids_T);
    yield { name: "embed", value: x_TD };

    for (let l = 0; l < config.nLayers; l++) {
      // x ← x + Wo · softmax(q kᵀ / √H) v, where the first R channels of q and k are rotated
      const layer = `model.model.layers.${l}`;
      const attention = `${layer}.self_attn`;
      const a_TD = op.rmsNorm(x_TD, weight(`${layer}.input_layernorm.weight`), normEps);
      const heads = (name: string, count: number, norm?: string) => {
        const y_TNH = op.reshape(op.linear(a_TD, weight(`${attention}.${name}.weight`)), [T, count, H]);
        if (norm === undefined) return y_TNH;
        const n_TNH = config.qkNorm ? op.rmsNorm(y_TNH, weight(`${attention}.${norm}.weight`), normEps) : y_TNH;
        const rotated_TNR = op.rope(op.slice(n_TNH, 2, 0, R), table, "half");
        return R === H ? rotated_TNR : op.concat([rotated_TNR, op.slice(n_TNH, 2, R, H)], 2);
      };
      const out_TNH = op.attention(heads("q_proj", N, "q_norm"), heads("k_proj", K, "k_norm"), heads("v_proj", K), {
        scale: H ** -0.5,
        mask: { kind: "causal" },
      });
      const wo_DI = weight(`${attention}.o_proj.weight`);
      x_TD = op.add(x_TD, op.linear(op.reshape(out_TNH, [T, N * H]), wo_DI));
      yield { name: `layers.${l}.attn`, value: x_TD };

      // x ← x + W₂ (silu(W₁ x) ⊙ W₃ x), of one feed-forward or of the chosen and the shared experts
      const m_TD = op.rmsNorm(x_TD, weight(`${layer}.post_attention_layernorm.weight`), normEps);
      const ffn = (module: string, [w1, w2, w3]: readonly [string, string, string]) => {
        const gate_TF = op.map("silu", op.linear(m_TD, weight(`${module}.${w1}.weight`)));
        const up_TF = op.linear(m_TD, weight(`${module}.${w3}.weight`));
        return op.linear(op.mul(gate_TF, up_TF), weight(`${module}.${w2}.weight`));
      };
      if (l < config.nDenseLayers) {
        x_TD = op.add(x_TD, ffn(`${layer}.mlp`, ["gate_proj", "down_proj", "up_proj"]));
      } else {
        const [w1_EFD, w2_EDF, w3_EFD] = ["w1_EFD", "w2_EDF", "w3_EFD"].map((name) =>
          weight(`${layer}.mlp.routed_experts.inner_experts.${name}`),
        );
        const of = (stacked: typeof x_TD, e: number) =>
          op.reshape(op.slice(stacked, 0, e, e + 1), stacked.shape.slice(1));
        const routing = {
          name: `layers.${l}`,
          logits_TE: op.linear(m_TD, weight(`${layer}.mlp.router.gate.weight`)),
          bias_E: weight(`${layer}.mlp.expert_bias_E`),
          router,
          weighs: "output",
        } as const;
        const routed_TD = op.mixture(m_TD, routing, (x_nD, e) => {
          const gate_nF = op.map("silu", op.linear(x_nD, of(w1_EFD!, e)));
          return op.linear(op.mul(gate_nF, op.linear(x_nD, of(w3_EFD!, e))), of(w2_EDF!, e));
        });
        x_TD = op.add(x_TD, op.add(routed_TD, ffn(`${layer}.mlp.shared_experts`, ["w1", "w2", "w3"])));
      }
      yield { name: `layers.${l}.ffn`, value: x_TD };
    }

    const y_TD = op.rmsNorm(x_TD, weight("model.model.norm.weight"), normEps);
    yield { name: "norm", value: y_TD };
    // A tied head and the embedding are one parameter.
    return op.linear(y_TD, weight(config.tied ? "model.model.embed_tokens.weight" : "model.lm_head.weight"));
  };
}

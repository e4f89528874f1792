// Mixtral as torchtitan's transformers backend runs it: transformers' attention under one causal mask, torchtitan's own
// mixture of experts. Suffixes as in numerics/graph.ts.
//   pytorch/torchtitan@v0.3.0:torchtitan/experiments/transformers_modeling_backend/{model,moe_replacement}.py
//   pytorch/torchtitan@v0.3.0:torchtitan/models/common/moe.py
import type { AttentionMask, Forward, KnownDifference, Router } from "../../numerics/graph.ts";
import { ropeTable, transformersFrequencies } from "../../numerics/rope.ts";
import { softmax } from "../../numerics/routing.ts";
import type { MixtralConfig } from "./config.ts";

const BACKEND =
  "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/experiments/transformers_modeling_backend";

/** Settings in which torchtitan and transformers differ. */
interface Upstream {
  readonly mask: AttentionMask;
  /** Whether the weights of the chosen experts are divided by their sum. */
  readonly routeNorm: boolean;
}

const TORCHTITAN: Upstream = { mask: { kind: "causal" }, routeNorm: false };

export const nativeForward = (config: MixtralConfig): Forward => forwardWith(config, TORCHTITAN);

/** Where this forward pass is known to differ from transformers'. */
export function nativeDifferences(config: MixtralConfig): readonly KnownDifference[] {
  const routed: Upstream = { ...TORCHTITAN, routeNorm: true };
  const differences: KnownDifference[] = [
    {
      code: "ROUTE_NORM",
      explanation:
        "torchtitan's transformers backend makes the weights of Mixtral's chosen experts sum to 1 only where its flavour sets norm_topk_prob: its own field of that name, None, hides that MixtralConfig has none; transformers always does",
      source: `${BACKEND}/moe_replacement.py`,
      fix: "train with TitanMoeModelConfig(norm_topk_prob=True); weights trained without it are another model in transformers",
      undone: forwardWith(config, routed),
    },
  ];
  if (config.window !== null) {
    differences.push({
      code: "SLIDING_WINDOW",
      explanation:
        "torchtitan's transformers backend gives Mixtral's layers its own causal mask where transformers has a sliding window",
      source: `${BACKEND}/model.py#L1046-L1083`,
      fix: "set sliding_window to null if the model was trained with torchtitan",
      undone: forwardWith(config, { ...routed, mask: { kind: "window", size: config.window } }),
    });
  }
  return differences;
}

/** TokenChoiceTopKRouter with softmax scores; the bias guides the choice alone. */
const routerOf = (topK: number, routeNorm: boolean): Router => ({
  k: topK,
  select: (logits_E, bias_E) => softmax(logits_E).map((score, e) => score + bias_E![e]!),
  weigh(logits_E, experts) {
    const scores_E = softmax(logits_E);
    const chosen = experts.map((e) => scores_E[e]!);
    const denominator = routeNorm ? chosen.reduce((sum, score) => sum + score, 0) + 1e-20 : 1;
    return chosen.map((score) => score / denominator);
  },
});

function forwardWith(config: MixtralConfig, { mask, routeNorm }: Upstream): Forward {
  const { nHeads: N, nKvHeads: K, headDim: H, normEps } = config;
  const router = routerOf(config.topK, routeNorm);

  return function* (op, weight, { ids_T }) {
    const T = ids_T.length;
    const table = ropeTable(
      transformersFrequencies(config.rope),
      ids_T.map((_, t) => t),
    );
    const E_VD = weight("model.model.embed_tokens.weight");
    let x_TD = op.gather(E_VD, ids_T);
    yield { name: "embed", value: x_TD };

    for (let l = 0; l < config.nLayers; l++) {
      // x ← x + Wo · softmax(q kᵀ / √H) v
      const layer = `model.model.layers.${l}`;
      const a_TD = op.rmsNorm(x_TD, weight(`${layer}.input_layernorm.weight`), normEps);
      const project = (name: string, heads: number) =>
        op.reshape(op.linear(a_TD, weight(`${layer}.self_attn.${name}.weight`)), [T, heads, H]);
      const q_TNH = op.rope(project("q_proj", N), table, "half");
      const k_TKH = op.rope(project("k_proj", K), table, "half");
      const out_TNH = op.attention(q_TNH, k_TKH, project("v_proj", K), { scale: H ** -0.5, mask });
      const wo_DI = weight(`${layer}.self_attn.o_proj.weight`);
      x_TD = op.add(x_TD, op.linear(op.reshape(out_TNH, [T, N * H]), wo_DI));
      yield { name: `layers.${l}.attn`, value: x_TD };

      // x ← x + Σₑ sₑ · W₂ₑ (silu(W₁ₑ x) ⊙ W₃ₑ x)
      const m_TD = op.rmsNorm(x_TD, weight(`${layer}.post_attention_layernorm.weight`), normEps);
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
      x_TD = op.add(x_TD, routed_TD);
      yield { name: `layers.${l}.ffn`, value: x_TD };
    }

    const y_TD = op.rmsNorm(x_TD, weight("model.model.norm.weight"), normEps);
    yield { name: "norm", value: y_TD };
    // A tied head and the embedding are one parameter.
    return op.linear(y_TD, weight(config.tied ? "model.model.embed_tokens.weight" : "model.lm_head.weight"));
  };
}

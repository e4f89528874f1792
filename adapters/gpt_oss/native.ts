// gpt-oss as torchtitan runs it. Suffixes name axes as in numerics/graph.ts; G = 2F gate and up channels in turns.
//   pytorch/torchtitan@v0.3.0:torchtitan/models/gpt_oss/{__init__,model,moe}.py
//   pytorch/torchtitan@v0.3.0:torchtitan/models/common/{moe,rope,attention}.py
import type { AttentionMask, Forward, KnownDifference, Node, Router, Weights } from "../../numerics/graph.ts";
import { ropeTable, torchtitanFrequencies, transformersFrequencies } from "../../numerics/rope.ts";
import { softmax } from "../../numerics/routing.ts";
import type { GptOssConfig } from "./config.ts";

/** Settings in which torchtitan and transformers differ at some configs. */
interface Upstream {
  /** Scale of the softmax. torchtitan multiplies YaRN's attention factor into it, squared. */
  readonly scale: number;
  /** `swiglu(alpha=1.702)`; no config reaches it. */
  readonly alpha: number;
}

/** How a revision spells its keys. */
interface Spelling {
  readonly head: string;
  readonly qkv: string;
  readonly expert: (name: string, axes: string) => string;
  readonly expertBias: string;
}

export const nativeForward = (config: GptOssConfig, spelling: Spelling): Forward =>
  forwardWith(config, spelling, torchtitan(config));

function torchtitan({ rope, headDim }: GptOssConfig): Upstream {
  const mscale = rope.kind === "yarn" && rope.factor > 1 ? 0.1 * Math.log(rope.factor) + 1 : 1;
  return { scale: (1 / Math.sqrt(headDim)) * mscale * mscale, alpha: 1.702 };
}

/** Where this forward pass is known to differ from transformers'. */
export function nativeDifferences(config: GptOssConfig, spelling: Spelling): readonly KnownDifference[] {
  const differences: KnownDifference[] = [];
  let upstream = torchtitan(config);
  const { attentionFactor } = transformersFrequencies(config.rope);
  const scale = config.headDim ** -0.5 * attentionFactor ** 2;
  if (Math.abs(scale / upstream.scale - 1) > 1e-12) {
    upstream = { ...upstream, scale };
    differences.push({
      code: "YARN_ATTENTION_FACTOR",
      explanation: `torchtitan takes 0.1 ln(factor) + 1 for YaRN's attention factor, transformers ${attentionFactor}`,
      source: "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/models/gpt_oss/model.py",
      fix: "leave attention_factor, mscale and mscale_all_dim out of rope_parameters if the model was trained with torchtitan",
      undone: forwardWith(config, spelling, upstream),
    });
  }
  if (config.swigluAlpha !== upstream.alpha) {
    upstream = { ...upstream, alpha: config.swigluAlpha };
    differences.push({
      code: "SWIGLU_ALPHA",
      explanation: `torchtitan's swiglu has alpha 1.702, the config ${config.swigluAlpha}`,
      source: "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/models/gpt_oss/moe.py",
      fix: "set swiglu_alpha to 1.702 if the model was trained with torchtitan",
      undone: forwardWith(config, spelling, upstream),
    });
  }
  return differences;
}

/** TokenChoiceTopKRouter, softmax scores with `route_norm`; the bias guides the choice alone. */
const routerOf = (k: number): Router => ({
  k,
  select: (logits_E, bias_E) => softmax(logits_E).map((score, e) => score + bias_E![e]!),
  weigh: (logits_E, experts) => {
    const scores_E = softmax(logits_E);
    const sum = experts.reduce((total, e) => total + scores_E[e]!, 0) + 1e-20;
    return experts.map((e) => scores_E[e]! / sum);
  },
});

function forwardWith(config: GptOssConfig, spelling: Spelling, { scale, alpha }: Upstream): Forward {
  const { nHeads: N, nKvHeads: K, headDim: H, expertDim: F, normEps, swigluLimit } = config;
  const frequencies = torchtitanFrequencies(config.rope, "CosSinRoPE");
  const router = routerOf(config.expertsPerToken);

  return function* (op, weight, { ids_T }) {
    const T = ids_T.length;
    const table = ropeTable(
      frequencies,
      ids_T.map((_, t) => t),
    );
    type X = ReturnType<typeof weight>;
    const project = (x_TI: X, name: string) => op.linear(x_TI, weight(`${name}.weight`), weight(`${name}.bias`));

    let x_TD = op.gather(weight("tok_embeddings.weight"), ids_T);
    yield { name: "embed", value: x_TD };

    for (let l = 0; l < config.nLayers; l++) {
      // x ← x + Wo · attention, rescaled by sigmoid(lse − sink): the softmax with one more logit
      const a_TD = op.rmsNorm(x_TD, weight(`layers.${l}.attention_norm.weight`), normEps);
      const module = `layers.${l}.${spelling.qkv}`;
      const q_TNH = op.rope(op.reshape(project(a_TD, `${module}.wq`), [T, N, H]), table, "half");
      const k_TKH = op.rope(op.reshape(project(a_TD, `${module}.wk`), [T, K, H]), table, "half");
      const v_TKH = op.reshape(project(a_TD, `${module}.wv`), [T, K, H]);
      const size = config.windows[l] ?? null;
      const mask: AttentionMask = size === null ? { kind: "causal" } : { kind: "window", size };
      const sinks_N = weight(`layers.${l}.attention.sinks`);
      const out_TNH = op.attention(q_TNH, k_TKH, v_TKH, { scale, mask, sinks_N });
      x_TD = op.add(x_TD, project(op.reshape(out_TNH, [T, N * H]), `layers.${l}.attention.wo`));
      yield { name: `layers.${l}.attn`, value: x_TD };

      // x ← x + Σₑ sₑ · (W₂ₑ swiglu(W₁ₑ x + b₁ₑ) + b₂ₑ)
      const m_TD = op.rmsNorm(x_TD, weight(`layers.${l}.ffn_norm.weight`), normEps);
      const { mlp1, bias1, mlp2, bias2, expertBias } = expertWeights(weight, spelling, `layers.${l}.moe`);
      const of = (stacked: X, e: number) => op.reshape(op.slice(stacked, 0, e, e + 1), stacked.shape.slice(1));
      const routing = {
        name: `layers.${l}`,
        logits_TE: project(m_TD, `layers.${l}.moe.router.gate`),
        bias_E: expertBias,
        router,
        weighs: "output",
      } as const;
      const routed_TD = op.mixture(m_TD, routing, (x_nD, e) => {
        const n = x_nD.shape[0]!;
        const h_nG = op.linear(x_nD, of(mlp1, e), of(bias1, e));
        const [glu_nF, linear_nF] = [0, 1].map((i) =>
          op.reshape(op.slice(op.reshape(h_nG, [n, F, 2]), 2, i, i + 1), [n, F]),
        );
        const clamped_nF = op.clamp(glu_nF!, Number.NEGATIVE_INFINITY, swigluLimit);
        const gated_nF = op.mul(clamped_nF, op.map("sigmoid", op.affine(clamped_nF, alpha)));
        const h_nF = op.add(gated_nF, op.mul(gated_nF, op.clamp(linear_nF!, -swigluLimit, swigluLimit)));
        return op.linear(h_nF, of(mlp2, e), of(bias2, e));
      });
      x_TD = op.add(x_TD, routed_TD);
      yield { name: `layers.${l}.ffn`, value: x_TD };
    }

    const y_TD = op.rmsNorm(x_TD, weight("norm.weight"), normEps);
    yield { name: "norm", value: y_TD };
    // A tied head and the embedding are one parameter.
    return op.linear(y_TD, weight(config.tied ? "tok_embeddings.weight" : spelling.head));
  };
}

/** GptOssGroupedExperts: [E, G, D], [E, G], [E, D, F], [E, D], under the names of the revision. */
function expertWeights<X extends Node>(weight: Weights<X>, { expert, expertBias }: Spelling, moe: string) {
  return {
    mlp1: weight(`${moe}.${expert("mlp1_weight", "EGD")}`),
    bias1: weight(`${moe}.${expert("mlp1_bias", "EG")}`),
    mlp2: weight(`${moe}.${expert("mlp2_weight", "EDF")}`),
    bias2: weight(`${moe}.${expert("mlp2_bias", "ED")}`),
    expertBias: weight(`${moe}.${expertBias}`),
  };
}

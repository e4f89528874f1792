// Qwen3-MoE as torchtitan runs it. Suffixes name axes as in numerics/graph.ts; R = N/K query heads share a key head.
//   pytorch/torchtitan@v0.3.0:torchtitan/models/qwen3/{__init__,model}.py
//   pytorch/torchtitan@v0.3.0:torchtitan/models/common/{decoder,attention,feed_forward,moe,rope}.py
import type { AttentionMask, Forward, KnownDifference, Node, Ops, Router, Weights } from "../../numerics/graph.ts";
import {
  type RopeFrequencies,
  ropeTable,
  torchtitanFrequencies,
  transformersFrequencies,
} from "../../numerics/rope.ts";
import { softmax } from "../../numerics/routing.ts";
import type { Qwen3MoeConfig } from "./config.ts";

/** Settings in which torchtitan and transformers differ at some configs. */
interface Upstream {
  readonly frequencies: RopeFrequencies;
  readonly mask: AttentionMask;
  /** Whether the weights of the chosen experts are normalised to sum to 1. */
  readonly routeNorm: boolean;
}

/** How a revision spells its keys. */
interface Spelling {
  readonly head: string;
  readonly qkv: string;
  /** Whether wq, wk and wv are one tensor, wqkv. */
  readonly fused: boolean;
  readonly expert: (name: string, axes: string) => string;
  readonly expertBias: string;
}

export const nativeForward = (config: Qwen3MoeConfig, spelling: Spelling): Forward =>
  forwardWith(config, spelling, torchtitan(config));

/** It has no sliding windows for this family, and every flavour of it has `route_norm=True`. */
const torchtitan = (config: Qwen3MoeConfig): Upstream => ({
  frequencies: torchtitanFrequencies(config.rope, "CosSinRoPE"),
  mask: { kind: "causal" },
  routeNorm: true,
});

/** Where this forward pass is known to differ from transformers'. */
export function nativeDifferences(config: Qwen3MoeConfig, spelling: Spelling): readonly KnownDifference[] {
  const differences: KnownDifference[] = [];
  let upstream = torchtitan(config);
  const { attentionFactor } = transformersFrequencies(config.rope);
  if (attentionFactor !== 1) {
    upstream = { ...upstream, frequencies: { ...upstream.frequencies, attentionFactor } };
    differences.push({
      code: "YARN_ATTENTION_FACTOR",
      explanation: `torchtitan's Qwen3 leaves out YaRN's attention factor, by which transformers scales cos and sin: ${attentionFactor}`,
      source: "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/models/common/rope.py",
      fix: 'set "attention_factor": 1 in rope_parameters if the model was trained with torchtitan',
      undone: forwardWith(config, spelling, upstream),
    });
  }
  if (config.window !== null) {
    upstream = { ...upstream, mask: { kind: "window", size: config.window } };
    differences.push({
      code: "SLIDING_WINDOW",
      explanation: "torchtitan's Qwen3 attends to all tokens where transformers has a sliding window",
      source: "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/models/qwen3/__init__.py",
      fix: "set use_sliding_window to false if the model was trained with torchtitan",
      undone: forwardWith(config, spelling, upstream),
    });
  }
  if (!config.normTopK) {
    upstream = { ...upstream, routeNorm: false };
    differences.push({
      code: "ROUTE_NORM",
      explanation: "torchtitan's Qwen3 makes the weights of the chosen experts sum to 1; norm_topk_prob is false",
      source: "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/models/qwen3/__init__.py",
      fix: "set norm_topk_prob to true if the model was trained with torchtitan",
      undone: forwardWith(config, spelling, upstream),
    });
  }
  return differences;
}

/** TokenChoiceTopKRouter with softmax scores; the bias guides the choice alone. */
const routerOf = (topK: number, routeNorm: boolean): Router => ({
  k: topK,
  select: (logits_E, bias_E) => softmax(logits_E).map((score, e) => score + bias_E![e]!),
  weigh: (logits_E, experts) => {
    const scores_E = softmax(logits_E);
    const chosen = experts.map((e) => scores_E[e]!);
    const denominator = routeNorm ? chosen.reduce((sum, score) => sum + score, 0) + 1e-20 : 1;
    return chosen.map((score) => score / denominator);
  },
});

function forwardWith(config: Qwen3MoeConfig, spelling: Spelling, { frequencies, mask, routeNorm }: Upstream): Forward {
  const { nHeads: N, headDim: H, normEps, attentionBias } = config;
  const router = routerOf(config.topK, routeNorm);

  return function* (op, weight, { ids_T }) {
    const T = ids_T.length;
    const table = ropeTable(
      frequencies,
      ids_T.map((_, t) => t),
    );
    const project = projection(op, weight);

    let x_TD = op.gather(weight("tok_embeddings.weight"), ids_T);
    yield { name: "embed", value: x_TD };

    for (let l = 0; l < config.nLayers; l++) {
      // x ← x + Wo · softmax(q kᵀ / √H) v
      const a_TD = op.rmsNorm(x_TD, weight(`layers.${l}.attention_norm.weight`), normEps);
      const [q_TNH, k_TKH, v_TKH] = queriesKeysValues(op, project, config, spelling, a_TD, l);
      const normedQ_TNH = op.rmsNorm(q_TNH, weight(`layers.${l}.attention.q_norm.weight`), normEps);
      const normedK_TKH = op.rmsNorm(k_TKH, weight(`layers.${l}.attention.k_norm.weight`), normEps);
      const rotatedQ_TNH = op.rope(normedQ_TNH, table, "half");
      const rotatedK_TKH = op.rope(normedK_TKH, table, "half");
      const attended_TNH = op.attention(rotatedQ_TNH, rotatedK_TKH, v_TKH, { scale: H ** -0.5, mask });
      x_TD = op.add(x_TD, project(op.reshape(attended_TNH, [T, N * H]), `layers.${l}.attention.wo`, attentionBias));
      yield { name: `layers.${l}.attn`, value: x_TD };

      // x ← x + Σₑ sₑ · W₂ₑ (silu(W₁ₑ x) ⊙ W₃ₑ x), or one feed-forward
      const m_TD = op.rmsNorm(x_TD, weight(`layers.${l}.ffn_norm.weight`), normEps);
      if (config.denseLayers.includes(l)) {
        const gate_TF = op.map("silu", project(m_TD, `layers.${l}.feed_forward.w1`));
        const up_TF = project(m_TD, `layers.${l}.feed_forward.w3`);
        x_TD = op.add(x_TD, project(op.mul(gate_TF, up_TF), `layers.${l}.feed_forward.w2`));
      } else {
        const { w1, w2, w3, bias } = expertWeights(weight, spelling, `layers.${l}.moe`);
        const of = (stacked: typeof w1, e: number) =>
          op.reshape(op.slice(stacked, 0, e, e + 1), stacked.shape.slice(1));
        const routing = {
          name: `layers.${l}`,
          logits_TE: project(m_TD, `layers.${l}.moe.router.gate`),
          bias_E: bias,
          router,
          weighs: "output",
        } as const;
        const out_TD = op.mixture(m_TD, routing, (x_nD, e) => {
          const h_nF = op.mul(op.map("silu", op.linear(x_nD, of(w1, e))), op.linear(x_nD, of(w3, e)));
          return op.linear(h_nF, of(w2, e));
        });
        x_TD = op.add(x_TD, out_TD);
      }
      yield { name: `layers.${l}.ffn`, value: x_TD };
    }

    const y_TD = op.rmsNorm(x_TD, weight("norm.weight"), normEps);
    yield { name: "norm", value: y_TD };
    // A tied head and the embedding are one parameter.
    return op.linear(y_TD, weight(config.tied ? "tok_embeddings.weight" : spelling.head));
  };
}

/** GroupedExperts: [E, F, D], [E, D, F], [E, F, D], under the names of the revision. */
function expertWeights<N extends Node>(weight: Weights<N>, { expert, expertBias }: Spelling, moe: string) {
  return {
    w1: weight(`${moe}.${expert("w1", "EFD")}`),
    w2: weight(`${moe}.${expert("w2", "EDF")}`),
    w3: weight(`${moe}.${expert("w3", "EFD")}`),
    bias: weight(`${moe}.${expertBias}`),
  };
}

type Projection<N extends Node> = (x_TI: N, name: string, bias?: boolean) => N;

const projection =
  <N extends Node>(op: Ops<N>, weight: Weights<N>): Projection<N> =>
  (x_TI, name, bias) =>
    op.linear(x_TI, weight(`${name}.weight`), bias ? weight(`${name}.bias`) : undefined);

/** [T, N, H], [T, K, H], [T, K, H]. */
function queriesKeysValues<X extends Node>(
  op: Ops<X>,
  project: Projection<X>,
  { nHeads: N, nKvHeads: K, headDim: H, attentionBias }: Qwen3MoeConfig,
  spelling: Spelling,
  a_TD: X,
  l: number,
): readonly [X, X, X] {
  const T = a_TD.shape[0]!;
  const module = `layers.${l}.${spelling.qkv}`;
  if (spelling.fused) {
    // FusedQKVLinear: a group holds R query heads, one key head, one value head.
    const R = N / K;
    const fused = project(a_TD, `${module}.wqkv`, attentionBias);
    const qkv_TKGH = op.reshape(fused, [T, K, R + 2, H]);
    const heads = (begin: number, end: number) =>
      op.reshape(op.slice(qkv_TKGH, 2, begin, end), [T, K * (end - begin), H]);
    return [heads(0, R), heads(R, R + 1), heads(R + 1, R + 2)];
  }
  const heads = (name: string, count: number) =>
    op.reshape(project(a_TD, `${module}.${name}`, attentionBias), [T, count, H]);
  return [heads("wq", N), heads("wk", K), heads("wv", K)];
}

// Qwen3 as torchtitan runs it. Suffixes name axes as in numerics/graph.ts; R = N/K query heads share a key head.
//   pytorch/torchtitan@v0.3.0:torchtitan/models/qwen3/model.py
//   pytorch/torchtitan@v0.3.0:torchtitan/models/common/{decoder,attention,feed_forward,rope}.py
import type { AttentionMask, Forward, KnownDifference, Node, Ops, Weights } from "../../numerics/graph.ts";
import {
  type RopeFrequencies,
  ropeTable,
  torchtitanFrequencies,
  transformersFrequencies,
} from "../../numerics/rope.ts";
import type { Qwen3Config } from "./config.ts";

const CAUSAL: AttentionMask = { kind: "causal" };

/** Settings in which torchtitan and transformers differ at some configs. */
interface Upstream {
  readonly frequencies: RopeFrequencies;
  readonly mask: (layer: number) => AttentionMask;
}

/** How a revision spells its keys. */
interface Spelling {
  readonly head: string;
  readonly qkv: string;
  /** Whether wq, wk and wv are one tensor, wqkv. */
  readonly fused: boolean;
}

export const nativeForward = (config: Qwen3Config, spelling: Spelling): Forward =>
  forwardWith(config, spelling, torchtitan(config));

/** It has no sliding windows for this family: every layer sees all tokens, whatever the config says. */
const torchtitan = (config: Qwen3Config): Upstream => ({
  frequencies: torchtitanFrequencies(config.rope, "CosSinRoPE"),
  mask: () => CAUSAL,
});

/** Where this forward pass is known to differ from transformers'. */
export function nativeDifferences(config: Qwen3Config, spelling: Spelling): readonly KnownDifference[] {
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
  if (config.windows.some((size) => size !== null)) {
    const mask = (l: number): AttentionMask => {
      const size = config.windows[l] ?? null;
      return size === null ? CAUSAL : { kind: "window", size };
    };
    differences.push({
      code: "SLIDING_WINDOW",
      explanation: "torchtitan's Qwen3 attends to all tokens in the layers that transformers gives a sliding window",
      source: "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/models/qwen3/__init__.py",
      fix: "set use_sliding_window to false if the model was trained with torchtitan",
      undone: forwardWith(config, spelling, { ...upstream, mask }),
    });
  }
  return differences;
}

function forwardWith(config: Qwen3Config, spelling: Spelling, { frequencies, mask }: Upstream): Forward {
  const { nHeads: N, headDim: H, normEps, attentionBias } = config;

  return function* (op, weight, { ids_T }) {
    const T = ids_T.length;
    const positions_T = ids_T.map((_, t) => t);
    const table = ropeTable(frequencies, positions_T);
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
      const attended_TNH = op.attention(rotatedQ_TNH, rotatedK_TKH, v_TKH, { scale: H ** -0.5, mask: mask(l) });
      x_TD = op.add(x_TD, project(op.reshape(attended_TNH, [T, N * H]), `layers.${l}.attention.wo`, attentionBias));
      yield { name: `layers.${l}.attn`, value: x_TD };

      // x ← x + W₂ (silu(W₁ x) ⊙ W₃ x)
      const m_TD = op.rmsNorm(x_TD, weight(`layers.${l}.ffn_norm.weight`), normEps);
      const gate_TF = op.map("silu", project(m_TD, `layers.${l}.feed_forward.w1`));
      const up_TF = project(m_TD, `layers.${l}.feed_forward.w3`);
      x_TD = op.add(x_TD, project(op.mul(gate_TF, up_TF), `layers.${l}.feed_forward.w2`));
      yield { name: `layers.${l}.ffn`, value: x_TD };
    }

    const y_TD = op.rmsNorm(x_TD, weight("norm.weight"), normEps);
    yield { name: "norm", value: y_TD };
    // A tied head and the embedding are one parameter.
    return op.linear(y_TD, weight(config.tied ? "tok_embeddings.weight" : spelling.head));
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
  { nHeads: N, nKvHeads: K, headDim: H, attentionBias }: Qwen3Config,
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
  return [
    op.reshape(project(a_TD, `${module}.wq`, attentionBias), [T, N, H]),
    op.reshape(project(a_TD, `${module}.wk`, attentionBias), [T, K, H]),
    op.reshape(project(a_TD, `${module}.wv`, attentionBias), [T, K, H]),
  ];
}

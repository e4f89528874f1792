// Llama 4 as torchtitan ran it. Suffixes name axes as in numerics/graph.ts; R = N/K query heads share a key head.
//   pytorch/torchtitan@43e52fd017ce:torchtitan/models/llama4/{__init__,model}.py
//   pytorch/torchtitan@43e52fd017ce:torchtitan/models/common/{attention,feed_forward,moe,rope,token_dispatcher}.py
//   pytorch/torchtitan@v0.2.2:torchtitan/models/llama4/model/model.py
import type { AttentionMask, Forward, KnownDifference, Node, Ops, Router, Weights } from "../../numerics/graph.ts";
import { ropeTable, torchtitanFrequencies } from "../../numerics/rope.ts";
import { sigmoid } from "../../numerics/routing.ts";
import type { Llama4Config } from "./config.ts";

const BUILDER = "https://github.com/pytorch/torchtitan/blob/43e52fd017ce/torchtitan/models/llama4/__init__.py";
const MODEL = "https://github.com/pytorch/torchtitan/blob/43e52fd017ce/torchtitan/models/llama4/model.py";
const ATTENTION = "https://github.com/pytorch/torchtitan/blob/43e52fd017ce/torchtitan/models/common/attention.py";

/** Settings in which torchtitan and transformers differ at some configs. */
type Upstream = Pick<Llama4Config, "ropeLayers" | "chunkedLayers" | "qkNorm" | "temperature">;

/** How a revision spells its keys. */
interface Spelling {
  readonly head: string;
  readonly qkv: string;
  /** Whether wq, wk and wv are one tensor, wqkv. */
  readonly fused: boolean;
  readonly expert: (name: string, axes: string) => string;
  readonly expertBias: string;
  /** Whether layers with RoPE are chunked even where every layer has RoPE. */
  readonly alwaysChunked: boolean;
}

export const nativeForward = (config: Llama4Config, spelling: Spelling): Forward =>
  forwardWith(config, spelling, torchtitan(config, spelling));

/** Its attention has neither norms nor temperatures; layers with RoPE are chunked. */
function torchtitan(config: Llama4Config, spelling: Spelling): Upstream {
  const ropeLayers = ropeLayersOf(config);
  const isChunked = spelling.alwaysChunked || ropeLayers.length < config.nLayers;
  return { ropeLayers, chunkedLayers: isChunked ? ropeLayers : [], qkNorm: false, temperature: null };
}

/** `every_n_layers_nope`: no RoPE at 0, n, 2n …; n is how far apart the config has them. */
function ropeLayersOf({ nLayers, ropeLayers }: Llama4Config): readonly number[] {
  const nope = range(nLayers).filter((l) => !ropeLayers.includes(l));
  const gaps = nope.map((l, i) => (i === 0 ? l + 1 : l - nope[i - 1]!)).filter((gap, i) => i > 0 || gap > 1);
  if (nope.length === 0 || nope.length === nLayers) return ropeLayers;
  const every = Math.max(2, Math.min(nLayers, ...gaps));
  return range(nLayers).filter((l) => l % every !== 0);
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** Where this forward pass is known to differ from transformers'. */
export function nativeDifferences(config: Llama4Config, spelling: Spelling): readonly KnownDifference[] {
  const differences: KnownDifference[] = [];
  let upstream = torchtitan(config, spelling);
  const add = (change: Partial<Upstream>, difference: Omit<KnownDifference, "undone">) => {
    upstream = { ...upstream, ...change };
    differences.push({ ...difference, undone: forwardWith(config, spelling, upstream) });
  };
  const { ropeLayers, chunkedLayers, qkNorm, temperature } = config;
  if (`${ropeLayers}` !== `${upstream.ropeLayers}`) {
    add(
      { ropeLayers, ...(`${chunkedLayers}` === `${ropeLayers}` ? { chunkedLayers } : {}) },
      {
        code: "NOPE_LAYERS",
        explanation:
          "torchtitan's Llama 4 leaves out RoPE at layers 0, n, 2n …; the config has other layers without it",
        source: BUILDER,
        fix: "set no_rope_layers to 0 at every n-th layer from the first on if the model was trained with torchtitan",
      },
    );
  }
  if (`${chunkedLayers}` !== `${upstream.chunkedLayers}`) {
    add(
      { chunkedLayers },
      {
        code: "CHUNKED_LAYERS",
        explanation: "torchtitan's Llama 4 has chunks in the layers with RoPE; the config has them in others",
        source: MODEL,
        fix: "set layer_types to chunked_attention where no_rope_layers is 1 if the model was trained with torchtitan",
      },
    );
  }
  if (qkNorm) {
    add(
      { qkNorm },
      {
        code: "QK_NORM",
        explanation: "torchtitan's Llama 4 does not normalise rotated queries and keys; use_qk_norm is true",
        source: ATTENTION,
        fix: "set use_qk_norm to false if the model was trained with torchtitan",
      },
    );
  }
  if (temperature !== null) {
    add(
      { temperature },
      {
        code: "ATTENTION_TEMPERATURE",
        explanation:
          "torchtitan's Llama 4 does not scale queries of layers without RoPE; attn_temperature_tuning is true",
        source: ATTENTION,
        fix: "set attn_temperature_tuning to false if the model was trained with torchtitan",
      },
    );
  }
  return differences;
}

/** TokenChoiceTopKRouter with sigmoid scores, not normalised; the bias guides the choice alone. */
const routerOf = (topK: number): Router => ({
  k: topK,
  select: (logits_E, bias_E) => logits_E.map((logit, e) => sigmoid(logit) + bias_E![e]!),
  weigh: (logits_E, experts) => experts.map((e) => sigmoid(logits_E[e]!)),
});

function forwardWith(config: Llama4Config, spelling: Spelling, upstream: Upstream): Forward {
  const { nHeads: N, headDim: H, normEps, attentionBias } = config;
  const frequencies = torchtitanFrequencies(config.rope, "ComplexRoPE");
  const router = routerOf(config.topK);

  return function* (op, weight, { ids_T }) {
    const T = ids_T.length;
    const table = ropeTable(
      frequencies,
      ids_T.map((_, t) => t),
    );
    const project = projection(op, weight);
    const feedForward = (x_TD: typeof x0_TD, module: string) => {
      const gate_TF = op.map("silu", project(x_TD, `${module}.w1`));
      return project(op.mul(gate_TF, project(x_TD, `${module}.w3`)), `${module}.w2`);
    };

    const x0_TD = op.gather(weight("tok_embeddings.weight"), ids_T);
    yield { name: "embed", value: x0_TD };

    let x_TD = x0_TD;
    for (let l = 0; l < config.nLayers; l++) {
      // x ← x + Wo · softmax(q kᵀ / √H) v
      const a_TD = op.rmsNorm(x_TD, weight(`layers.${l}.attention_norm.weight`), normEps);
      let [q_TNH, k_TKH, v_TKH] = queriesKeysValues(op, project, config, spelling, a_TD, l);
      if (upstream.ropeLayers.includes(l)) {
        q_TNH = op.rope(q_TNH, table, "adjacent");
        k_TKH = op.rope(k_TKH, table, "adjacent");
        if (upstream.qkNorm) [q_TNH, k_TKH] = [op.rmsNorm(q_TNH, null, normEps), op.rmsNorm(k_TKH, null, normEps)];
      } else if (upstream.temperature !== null) {
        const { floor, scale } = upstream.temperature;
        const factors = ids_T.map((_, t) => Math.log1p(Math.floor((t + 1) / floor)) * scale + 1);
        q_TNH = op.mul(q_TNH, op.constant(factors.map(Math.fround), [T, 1, 1]));
      }
      const mask: AttentionMask = upstream.chunkedLayers.includes(l)
        ? { kind: "chunk", size: config.chunkSize }
        : { kind: "causal" };
      const attended_TNH = op.attention(q_TNH, k_TKH, v_TKH, { scale: 1 / Math.sqrt(H), mask });
      x_TD = op.add(x_TD, project(op.reshape(attended_TNH, [T, N * H]), `layers.${l}.attention.wo`, attentionBias));
      yield { name: `layers.${l}.attn`, value: x_TD };

      // x ← x + Σₑ W₂ₑ (silu(W₁ₑ sₑx) ⊙ W₃ₑ sₑx) + shared(x), or one feed-forward
      const m_TD = op.rmsNorm(x_TD, weight(`layers.${l}.ffn_norm.weight`), normEps);
      if (config.moeLayers.includes(l)) {
        const { w1, w2, w3, bias } = expertWeights(weight, spelling, `layers.${l}.moe`);
        const of = (stacked: typeof w1, e: number) =>
          op.reshape(op.slice(stacked, 0, e, e + 1), stacked.shape.slice(1));
        const routing = {
          name: `layers.${l}`,
          logits_TE: project(m_TD, `layers.${l}.moe.router.gate`),
          bias_E: bias,
          router,
          weighs: "input",
        } as const;
        const routed_TD = op.mixture(m_TD, routing, (x_nD, e) => {
          const h_nF = op.mul(op.map("silu", op.linear(x_nD, of(w1, e))), op.linear(x_nD, of(w3, e)));
          return op.linear(h_nF, of(w2, e));
        });
        x_TD = op.add(x_TD, op.add(routed_TD, feedForward(m_TD, `layers.${l}.moe.shared_experts`)));
      } else {
        x_TD = op.add(x_TD, feedForward(m_TD, `layers.${l}.feed_forward`));
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
function expertWeights<X extends Node>(weight: Weights<X>, { expert, expertBias }: Spelling, moe: string) {
  return {
    w1: weight(`${moe}.${expert("w1", "EFD")}`),
    w2: weight(`${moe}.${expert("w2", "EDF")}`),
    w3: weight(`${moe}.${expert("w3", "EFD")}`),
    bias: weight(`${moe}.${expertBias}`),
  };
}

type Projection<X extends Node> = (x_TI: X, name: string, bias?: boolean) => X;

const projection =
  <X extends Node>(op: Ops<X>, weight: Weights<X>): Projection<X> =>
  (x_TI, name, bias) =>
    op.linear(x_TI, weight(`${name}.weight`), bias ? weight(`${name}.bias`) : undefined);

/** [T, N, H], [T, K, H], [T, K, H]. */
function queriesKeysValues<X extends Node>(
  op: Ops<X>,
  project: Projection<X>,
  { nHeads: N, nKvHeads: K, headDim: H, attentionBias }: Llama4Config,
  spelling: Spelling,
  a_TD: X,
  l: number,
): [X, X, X] {
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

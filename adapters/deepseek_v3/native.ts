// DeepSeek-V3 as torchtitan runs it. Suffixes name axes as in numerics/graph.ts; C query latent, Z key/value latent,
// P rotated channels of a head.
//   pytorch/torchtitan@v0.3.0:torchtitan/models/deepseek_v3/{model,mtp}.py
//   pytorch/torchtitan@v0.3.0:torchtitan/models/common/{moe,feed_forward,rope}.py
import type { Forward, KnownDifference, Node, Ops, RopeTable, Router, Weights } from "../../numerics/graph.ts";
import {
  type RopeFrequencies,
  ropeTable,
  torchtitanFrequencies,
  transformersFrequencies,
} from "../../numerics/rope.ts";
import { sigmoid, topK } from "../../numerics/routing.ts";
import type { DeepseekV3Config } from "./config.ts";

const MODEL = "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/models/deepseek_v3/model.py";
const MTP = "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/models/deepseek_v3/mtp.py";

/** Settings in which torchtitan and transformers differ at some configs. */
interface Upstream {
  readonly frequencies: RopeFrequencies;
  readonly scale: number;
  /** Epsilon of the latents' norms. */
  readonly latentEps: number;
  /** Which hidden states the first MTP layer reads. */
  readonly mtpFrom: "before the final norm" | "after the final norm";
}

/** How a revision spells its keys. */
interface Spelling {
  readonly head: string;
  readonly expert: (name: string, axes: string) => string;
  readonly expertBias: string;
}

export const nativeForward = (config: DeepseekV3Config, spelling: Spelling): Forward =>
  forwardWith(config, spelling, torchtitan(config));

/** `Attention.Config.mscale`, squared on the softmax scale; 1 unless the config says otherwise. */
function torchtitan(config: DeepseekV3Config): Upstream {
  const { rope } = config;
  const mscale = rope.kind === "yarn" && rope.factor > 1 ? 0.1 * (rope.mscale ?? 1) * Math.log(rope.factor) + 1 : 1;
  return {
    frequencies: torchtitanFrequencies(rope, "ComplexRoPE"),
    scale: (config.nopeDim + config.ropeDim) ** -0.5 * mscale * mscale,
    latentEps: config.normEps,
    mtpFrom: "before the final norm",
  };
}

/** Where this forward pass is known to differ from transformers'. */
export function nativeDifferences(config: DeepseekV3Config, spelling: Spelling): readonly KnownDifference[] {
  const differences: KnownDifference[] = [];
  let upstream = torchtitan(config);
  const add = (change: Partial<Upstream>, difference: Omit<KnownDifference, "undone">) => {
    upstream = { ...upstream, ...change };
    differences.push({ ...difference, undone: forwardWith(config, spelling, upstream) });
  };
  const { rope } = config;
  const allDim = rope.kind === "yarn" ? (rope.mscaleAllDim ?? 0) : 0;
  const factor = rope.kind === "yarn" && allDim && rope.factor > 1 ? 0.1 * allDim * Math.log(rope.factor) + 1 : 1;
  const scale = (config.nopeDim + config.ropeDim) ** -0.5 * factor * factor;
  const { attentionFactor } = transformersFrequencies(rope);
  if (scale !== upstream.scale || attentionFactor !== 1) {
    add(
      { scale, frequencies: { ...upstream.frequencies, attentionFactor } },
      {
        code: "YARN_MSCALE",
        explanation:
          "torchtitan puts mscale² on the softmax scale; transformers mscale_all_dim², and the quotient of both on cos and sin",
        source: MODEL,
        fix: "set mscale_all_dim to mscale if the model was trained with torchtitan",
      },
    );
  }
  if (config.normEps !== 1e-6) {
    add(
      { latentEps: 1e-6 },
      {
        code: "MLA_NORM_EPS",
        explanation: `transformers' norms of the latents have eps 1e-6 whatever rms_norm_eps (${config.normEps}) says; torchtitan's have that one`,
        source:
          "https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/deepseek_v3/modeling_deepseek_v3.py",
        fix: "train with eps 1e-6, or accept the difference: about 2e-10 nats/token at 1e-5",
      },
    );
  }
  if (config.nMtpLayers > 0) {
    add(
      { mtpFrom: "after the final norm" },
      {
        code: "MTP_BEFORE_NORM",
        explanation:
          "torchtitan feeds MTP layers the hidden states before the final norm, transformers those after it; logits of the model itself are not concerned",
        source: MTP,
        fix: "nothing to set: in transformers the drafts of such a model are worse than those it was trained for",
      },
    );
  }
  return differences;
}

/** TokenChoiceTopKRouter: sigmoid scores, biased and limited to groups for the choice, unbiased for the weights. */
function routerOf(config: DeepseekV3Config): Router {
  const { nExperts: E, nGroups, groupsPerToken } = config;
  return {
    k: config.expertsPerToken,
    select(logits_E, bias_E) {
      const biased_E = logits_E.map((logit, e) => sigmoid(logit) + bias_E![e]!);
      if (nGroups === 1) return biased_E;
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

function forwardWith(config: DeepseekV3Config, spelling: Spelling, upstream: Upstream): Forward {
  const { nLayers, normEps } = config;

  return function* (op, weight, { ids_T, has }) {
    const T = ids_T.length;
    const positions_T = ids_T.map((_, t) => t);
    const block = transformerBlock(
      op,
      weight,
      config,
      spelling,
      upstream,
      ropeTable(upstream.frequencies, positions_T),
    );

    let x_TD = op.gather(weight("tok_embeddings.weight"), ids_T);
    yield { name: "embed", value: x_TD };
    for (let l = 0; l < nLayers; l++) {
      x_TD = block.attention(x_TD, `layers.${l}`);
      yield { name: `layers.${l}.attn`, value: x_TD };
      x_TD = block.feedForward(x_TD, `layers.${l}`, `layers.${l}`, l >= config.nDenseLayers);
      yield { name: `layers.${l}.ffn`, value: x_TD };
    }
    const y_TD = op.rmsNorm(x_TD, weight("norm.weight"), normEps);

    // MTP layer m: h ← W [norm(embedding of the token m + 1 places on) | norm(h)], then a block; 0 where there is none
    let h_TD = upstream.mtpFrom === "before the final norm" ? x_TD : y_TD;
    for (let m = 0; m < config.nMtpLayers && has?.(`mtp_layers.${m}.eh_proj.weight`); m++) {
      const layer = `mtp_layers.${m}`;
      const shift = m + 1;
      const rolled_T = ids_T.map((_, t) => (t + shift < T ? ids_T[t + shift]! : 0));
      const valid_T1 = op.constant(
        positions_T.map((t) => Number(t + shift < T)),
        [T, 1],
      );
      const embed_TD = op.gather(weight("tok_embeddings.weight"), rolled_T);
      const enormed_TD = op.rmsNorm(embed_TD, weight(`${layer}.enorm.weight`), normEps);
      const hnormed_TD = op.rmsNorm(op.mul(h_TD, valid_T1), weight(`${layer}.hnorm.weight`), normEps);
      const fused_TD = op.linear(op.concat([enormed_TD, hnormed_TD], 1), weight(`${layer}.eh_proj.weight`));
      const out_TD = block.feedForward(block.attention(fused_TD, layer), layer, `mtp.${m}`, true);
      h_TD = op.rmsNorm(out_TD, weight(`${layer}.mtp_norm.weight`), normEps);
      yield { name: `mtp.${m}`, value: h_TD, keep: [y_TD], ahead: m + 1 };
    }
    yield { name: "norm", value: y_TD };
    // A tied head and the embedding are one parameter.
    return op.linear(y_TD, weight(config.tied ? "tok_embeddings.weight" : spelling.head));
  };
}

function transformerBlock<X extends Node>(
  op: Ops<X>,
  weight: Weights<X>,
  config: DeepseekV3Config,
  spelling: Spelling,
  { scale, latentEps }: Upstream,
  table: RopeTable,
) {
  const { nHeads: N, qLoraRank, kvLoraRank: Z, nopeDim, ropeDim: P, valueDim: C, normEps } = config;
  const router = routerOf(config);
  const project = (x_TI: X, module: string) => op.linear(x_TI, weight(`${module}.weight`));

  /** x + Wo · softmax(scale · q kᵀ) v, keys and values from one latent, a rotated key shared by all heads. */
  function attention(x_TD: X, layer: string): X {
    const T = x_TD.shape[0]!;
    const a_TD = op.rmsNorm(x_TD, weight(`${layer}.attention_norm.weight`), normEps);
    const module = `${layer}.attention`;
    let q_TI: X;
    if (qLoraRank === null) {
      q_TI = project(a_TD, `${module}.wq`);
    } else {
      const q_TC = op.rmsNorm(project(a_TD, `${module}.wq_a`), weight(`${module}.q_norm.weight`), latentEps);
      q_TI = project(q_TC, `${module}.wq_b`);
    }
    const q_TNH = op.reshape(q_TI, [T, N, nopeDim + P]);
    const qPe_TNP = op.rope(op.slice(q_TNH, 2, nopeDim, nopeDim + P), table, "adjacent");
    const rotatedQ_TNH = op.concat([op.slice(q_TNH, 2, 0, nopeDim), qPe_TNP], 2);

    const kvAndPe = project(a_TD, `${module}.wkv_a`);
    const kPe_T1P = op.rope(op.reshape(op.slice(kvAndPe, 1, Z, Z + P), [T, 1, P]), table, "adjacent");
    const kv_TZ = op.rmsNorm(op.slice(kvAndPe, 1, 0, Z), weight(`${module}.kv_norm.weight`), latentEps);
    const kv_TNB = op.reshape(project(kv_TZ, `${module}.wkv_b`), [T, N, nopeDim + C]);
    const expanded_TNP = op.concat(Array<X>(N).fill(kPe_T1P), 1);
    const k_TNH = op.concat([op.slice(kv_TNB, 2, 0, nopeDim), expanded_TNP], 2);
    const v_TNC = op.slice(kv_TNB, 2, nopeDim, nopeDim + C);

    const out_TNC = op.attention(rotatedQ_TNH, k_TNH, v_TNC, { scale, mask: { kind: "causal" } });
    return op.add(x_TD, project(op.reshape(out_TNC, [T, N * C]), `${module}.wo`));
  }

  /** x + W₂ (silu(W₁ x) ⊙ W₃ x), of one feed-forward or of the chosen and the shared experts. */
  function feedForward(x_TD: X, layer: string, name: string, moeEnabled: boolean): X {
    const m_TD = op.rmsNorm(x_TD, weight(`${layer}.ffn_norm.weight`), normEps);
    const ffn = (module: string) =>
      project(op.mul(op.map("silu", project(m_TD, `${module}.w1`)), project(m_TD, `${module}.w3`)), `${module}.w2`);
    if (!moeEnabled) return op.add(x_TD, ffn(`${layer}.feed_forward`));

    const { w1, w2, w3, bias } = expertWeights(weight, spelling, `${layer}.moe`);
    const of = (stacked: X, e: number) => op.reshape(op.slice(stacked, 0, e, e + 1), stacked.shape.slice(1));
    const routing = {
      name,
      logits_TE: project(m_TD, `${layer}.moe.router.gate`),
      bias_E: bias,
      router,
      weighs: "output",
    } as const;
    const routed_TD = op.mixture(m_TD, routing, (x_nD, e) => {
      const h_nF = op.mul(op.map("silu", op.linear(x_nD, of(w1, e))), op.linear(x_nD, of(w3, e)));
      return op.linear(h_nF, of(w2, e));
    });
    return op.add(x_TD, op.add(routed_TD, ffn(`${layer}.moe.shared_experts`)));
  }

  return { attention, feedForward };
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

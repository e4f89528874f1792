// DeepSeek-V3 as transformers runs it. Suffixes name axes as in numerics/graph.ts; Q, Z latents, P rotated channels,
// S of the shared experts.
//   huggingface/transformers@v5.23.0:src/transformers/models/deepseek_v3/modeling_deepseek_v3.py
//   huggingface/transformers@v5.23.0:src/transformers/modeling_layers.py, MtpLayer
import type { Forward, Node, Ops, Router, Weights } from "../../numerics/graph.ts";
import { type RopeSpec, ropeTable, transformersFrequencies } from "../../numerics/rope.ts";
import { sigmoid, topK } from "../../numerics/routing.ts";
import type { DeepseekV3Config } from "./config.ts";

/** Epsilon of the latents' norms. transformers builds these norms without `rms_norm_eps`. */
const LATENT_EPS = 1e-6;

/**
 * DeepseekV3TopkRouter: the groups with the largest sum of two best scores are kept; in them, the k largest sigmoid +
 * bias are chosen.
 */
function routerOf(config: DeepseekV3Config): Router {
  const { nExperts, nGroups, groupsPerToken } = config;
  const size = nExperts / nGroups;
  return {
    k: config.expertsPerToken,
    select(logits_E, bias_E) {
      const scores_E = logits_E.map((logit, e) => sigmoid(logit) + bias_E![e]!);
      const groupScores = Array.from({ length: nGroups }, (_, g) => {
        const group = scores_E.subarray(g * size, (g + 1) * size);
        return topK(group, 2).reduce((sum, i) => sum + group[i]!, 0);
      });
      const chosen = new Set(topK(groupScores, groupsPerToken));
      return scores_E.map((score, e) => (chosen.has(Math.floor(e / size)) ? score : Number.NEGATIVE_INFINITY));
    },
    weigh(logits_E, experts) {
      const scores = experts.map((e) => sigmoid(logits_E[e]!));
      const sum = config.normaliseWeights ? scores.reduce((total, score) => total + score, 0) + 1e-20 : 1;
      return scores.map((score) => (score / sum) * config.routeScale);
    },
  };
}

/** `yarn_apply_mscale`. */
function softmaxScale(rope: RopeSpec, channels: number): number {
  const allDim = rope.kind === "yarn" ? (rope.mscaleAllDim ?? 0) : 0;
  const mscale = rope.kind === "yarn" && allDim && rope.factor > 1 ? 0.1 * allDim * Math.log(rope.factor) + 1 : 1;
  return channels ** -0.5 * mscale * mscale;
}

export function hfForward(config: DeepseekV3Config): Forward {
  const { nLayers, nMtpLayers, normEps } = config;
  const frequencies = transformersFrequencies(config.rope);

  return function* (op, weight, { ids_T, has }) {
    const w = (module: string) => weight(`${module}.weight`);
    const cosSin = ropeTable(frequencies, [...ids_T.keys()]);
    const block = decoderLayer(op, weight, config, cosSin);

    let hidden_TD = op.gather(w("model.embed_tokens"), ids_T);
    yield { name: "embed", value: hidden_TD };

    for (let l = 0; l < nLayers; l++) {
      const layer = `model.layers.${l}`;
      hidden_TD = block.attention(hidden_TD, layer);
      yield { name: `layers.${l}.attn`, value: hidden_TD };
      hidden_TD = block.feedForward(hidden_TD, layer, `layers.${l}`, l >= config.nDenseLayers);
      yield { name: `layers.${l}.ffn`, value: hidden_TD };
    }

    const last_TD = op.rmsNorm(hidden_TD, w("model.norm"), normEps);
    // MtpLayer m: joins the hidden states with the embedding of the token m + 1 positions later.
    let previous_TD = last_TD;
    for (let m = 0; m < nMtpLayers; m++) {
      const layer = `model.layers.${nLayers + m}`;
      if (!has?.(`${layer}.eh_proj.weight`)) break;
      const ahead_TD = op.gather(w("model.embed_tokens"), [...ids_T.slice(m + 1), ...ids_T.slice(0, m + 1).fill(0)]);
      const known_T1 = op.constant(
        ids_T.map((_, t) => (t + m + 1 < ids_T.length ? 1 : 0)),
        [ids_T.length, 1],
      );
      const fused = op.concat(
        [
          op.rmsNorm(ahead_TD, w(`${layer}.enorm`), normEps),
          op.rmsNorm(op.mul(previous_TD, known_T1), w(`${layer}.hnorm`), normEps),
        ],
        1,
      );
      const attended_TD = block.attention(op.linear(fused, w(`${layer}.eh_proj`)), layer);
      const out_TD = block.feedForward(attended_TD, layer, `mtp.${m}`, true);
      previous_TD = op.rmsNorm(out_TD, w(`${layer}.shared_head.norm`), normEps);
      yield { name: `mtp.${m}`, value: previous_TD, keep: [last_TD], ahead: m + 1 };
    }
    yield { name: "norm", value: last_TD };
    return op.linear(last_TD, w(config.tied ? "model.embed_tokens" : "lm_head"));
  };
}

/** x + attention(norm x) and x + mlp(norm x) of the module `layer`. */
function decoderLayer<X extends Node>(
  op: Ops<X>,
  weight: Weights<X>,
  config: DeepseekV3Config,
  cosSin: ReturnType<typeof ropeTable>,
) {
  const { nHeads: N, qLoraRank, kvLoraRank: Z, nopeDim, ropeDim: P, valueDim, normEps } = config;
  const router = routerOf(config);
  const scale = softmaxScale(config.rope, nopeDim + P);
  const w = (module: string) => weight(`${module}.weight`);
  const mlp = (x_TD: X, module: string) => {
    const gate_TF = op.map("silu", op.linear(x_TD, w(`${module}.gate_proj`)));
    return op.linear(op.mul(gate_TF, op.linear(x_TD, w(`${module}.up_proj`))), w(`${module}.down_proj`));
  };

  function attention(hidden_TD: X, layer: string): X {
    const T = hidden_TD.shape[0]!;
    const self = `${layer}.self_attn`;
    const x_TD = op.rmsNorm(hidden_TD, w(`${layer}.input_layernorm`), normEps);
    const q_TI =
      qLoraRank === null
        ? op.linear(x_TD, w(`${self}.q_proj`))
        : op.linear(
            op.rmsNorm(op.linear(x_TD, w(`${self}.q_a_proj`)), w(`${self}.q_a_layernorm`), LATENT_EPS),
            w(`${self}.q_b_proj`),
          );
    const q_TNH = op.reshape(q_TI, [T, N, nopeDim + P]);
    const qRot_TNP = op.rope(op.slice(q_TNH, 2, nopeDim, nopeDim + P), cosSin, "adjacent");

    const compressed = op.linear(x_TD, w(`${self}.kv_a_proj_with_mqa`));
    const latent_TZ = op.rmsNorm(op.slice(compressed, 1, 0, Z), w(`${self}.kv_a_layernorm`), LATENT_EPS);
    const kRot_T1P = op.rope(op.reshape(op.slice(compressed, 1, Z, Z + P), [T, 1, P]), cosSin, "adjacent");
    const kv_TNH = op.reshape(op.linear(latent_TZ, w(`${self}.kv_b_proj`)), [T, N, nopeDim + valueDim]);
    // All heads share one rotated key.
    const rows = Array.from({ length: T * N }, (_, i) => Math.floor(i / N));
    const kRot_TNP = op.reshape(op.gather(op.reshape(kRot_T1P, [T, P]), rows), [T, N, P]);

    const mixed_TNC = op.attention(
      op.concat([op.slice(q_TNH, 2, 0, nopeDim), qRot_TNP], 2),
      op.concat([op.slice(kv_TNH, 2, 0, nopeDim), kRot_TNP], 2),
      op.slice(kv_TNH, 2, nopeDim, nopeDim + valueDim),
      { scale, mask: { kind: "causal" } },
    );
    return op.add(hidden_TD, op.linear(op.reshape(mixed_TNC, [T, N * valueDim]), w(`${self}.o_proj`)));
  }

  function feedForward(hidden_TD: X, layer: string, name: string, hasExperts: boolean): X {
    const module = `${layer}.mlp`;
    const x_TD = op.rmsNorm(hidden_TD, w(`${layer}.post_attention_layernorm`), normEps);
    if (!hasExperts) return op.add(hidden_TD, mlp(x_TD, module));
    const routing = {
      name,
      logits_TE: op.linear(x_TD, w(`${module}.gate`)),
      bias_E: weight(`${module}.gate.e_score_correction_bias`),
      router,
      weighs: "output",
    } as const;
    const routed_TD = op.mixture(x_TD, routing, (x_nD, e) => mlp(x_nD, `${module}.experts.${e}`));
    return op.add(hidden_TD, op.add(routed_TD, mlp(x_TD, `${module}.shared_experts`)));
  }

  return { attention, feedForward };
}

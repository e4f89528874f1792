// GLM-4.5 to GLM-4.7 as transformers runs them. Suffixes name axes as in numerics/graph.ts; R rotated channels of a head.
//   huggingface/transformers@v5.23.0:src/transformers/models/glm4_moe/modeling_glm4_moe.py
//   huggingface/transformers@v5.23.0:src/transformers/modeling_layers.py, MtpLayer
import type { Forward, Node, Ops, RopeTable, Router, Weights } from "../../numerics/graph.ts";
import { ropeTable, transformersFrequencies } from "../../numerics/rope.ts";
import { sigmoid, topK } from "../../numerics/routing.ts";
import type { Glm4MoeConfig } from "./config.ts";

/**
 * Glm4MoeTopkRouter: the groups with the largest sum of two best scores are kept; in them, the k largest sigmoid + bias
 * are chosen.
 */
function routerOf(config: Glm4MoeConfig): Router {
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

export function hfForward(config: Glm4MoeConfig): Forward {
  const { nLayers, nMtpLayers, normEps } = config;
  const frequencies = transformersFrequencies(config.rope);

  return function* (op, weight, { ids_T, has }) {
    const w = (module: string) => weight(`${module}.weight`);
    const block = decoderLayer(op, weight, config, ropeTable(frequencies, [...ids_T.keys()]));

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
      const embeds_TD = op.rmsNorm(ahead_TD, w(`${layer}.enorm`), normEps);
      const normed_TD = op.rmsNorm(op.mul(previous_TD, known_T1), w(`${layer}.hnorm`), normEps);
      const joined_TD = op.linear(op.concat([embeds_TD, normed_TD], 1), w(`${layer}.eh_proj`));
      const out_TD = block.feedForward(block.attention(joined_TD, layer), layer, `mtp.${m}`, true);
      previous_TD = op.rmsNorm(out_TD, w(`${layer}.shared_head.norm`), normEps);
      yield { name: `mtp.${m}`, value: previous_TD, keep: [last_TD] };
    }
    yield { name: "norm", value: last_TD };
    return op.linear(last_TD, w(config.tied ? "model.embed_tokens" : "lm_head"));
  };
}

/** x + attention(norm x) and x + mlp(norm x) of the module `layer`. */
function decoderLayer<X extends Node>(op: Ops<X>, weight: Weights<X>, config: Glm4MoeConfig, cosSin: RopeTable) {
  const { nHeads, nKvHeads, headDim, normEps, attentionBias, qkNorm } = config;
  const rotated = config.rope.dims;
  const router = routerOf(config);
  const w = (module: string) => weight(`${module}.weight`);
  const mlp = (x_TD: X, module: string) => {
    const gate_TF = op.map("silu", op.linear(x_TD, w(`${module}.gate_proj`)));
    return op.linear(op.mul(gate_TF, op.linear(x_TD, w(`${module}.up_proj`))), w(`${module}.down_proj`));
  };

  /** apply_rotary_pos_emb: the first R channels turn by halves, the others pass. */
  const turned = (x_TNH: X): X => {
    const turned_TNR = op.rope(op.slice(x_TNH, 2, 0, rotated), cosSin, "half");
    return rotated === headDim ? turned_TNR : op.concat([turned_TNR, op.slice(x_TNH, 2, rotated, headDim)], 2);
  };

  function attention(hidden_TD: X, layer: string): X {
    const T = hidden_TD.shape[0]!;
    const self = `${layer}.self_attn`;
    const x_TD = op.rmsNorm(hidden_TD, w(`${layer}.input_layernorm`), normEps);
    const heads = (name: string, count: number) => {
      const bias = attentionBias ? weight(`${self}.${name}.bias`) : undefined;
      return op.reshape(op.linear(x_TD, w(`${self}.${name}`), bias), [T, count, headDim]);
    };
    const normed = (x_TNH: X, name: string) => (qkNorm ? op.rmsNorm(x_TNH, w(`${self}.${name}`), normEps) : x_TNH);
    const mixed_TNH = op.attention(
      turned(normed(heads("q_proj", nHeads), "q_norm")),
      turned(normed(heads("k_proj", nKvHeads), "k_norm")),
      heads("v_proj", nKvHeads),
      { scale: headDim ** -0.5, mask: { kind: "causal" } },
    );
    return op.add(hidden_TD, op.linear(op.reshape(mixed_TNH, [T, nHeads * headDim]), w(`${self}.o_proj`)));
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

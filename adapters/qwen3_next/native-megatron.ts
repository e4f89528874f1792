// Qwen3-Next as Megatron-Core runs it. Suffixes name axes as in numerics/graph.ts; of a delta net J key heads and W value heads,
// with K and V channels each.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/ssm/gated_delta_net.py
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/transformer/attention.py
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/transformer/moe/{router,moe_utils,shared_experts}.py
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/transformer/multi_token_prediction.py
import type { Forward, Node, Ops, RopeTable, Router, Weights } from "../../numerics/graph.ts";
import { ropeTable } from "../../numerics/rope.ts";
import { softmax } from "../../numerics/routing.ts";
import { megatronFrequencies } from "../trainers/megatron-graph.ts";
import type { Qwen3NextConfig } from "./config.ts";

export function megatronForward(config: Qwen3NextConfig): Forward {
  const frequencies = megatronFrequencies(config.rope);

  return function* (op, weight, { ids_T, has }) {
    const table = ropeTable(
      frequencies,
      ids_T.map((_, t) => t),
    );
    const { attention, deltaNet, dense, experts, norm } = transformerLayer(op, weight, config, table);
    let x_TD = op.gather(weight("embedding.word_embeddings.weight"), ids_T);
    yield { name: "embed", value: x_TD };

    for (let l = 0; l < config.nLayers; l++) {
      const [layer, name] = [`decoder.layers.${l}`, `layers.${l}`];
      const mixer = config.fullLayers.includes(l) ? attention : deltaNet;
      x_TD = op.add(x_TD, mixer(x_TD, `${layer}.self_attention`));
      yield { name: `${name}.attn`, value: x_TD };
      x_TD = op.add(x_TD, config.denseLayers.includes(l) ? dense(x_TD, layer) : experts(x_TD, layer, name));
      yield { name: `${name}.ffn`, value: x_TD };
    }
    const y_TD = norm(x_TD, "decoder.final_layernorm.weight");
    if (has?.("mtp.layers.0.eh_proj.weight")) {
      // MultiTokenPredictionLayer: rolled ids end in a 0; h ← eh_proj [norm(embedding) | norm(y)], then a layer
      const ahead_TD = op.gather(weight("embedding.word_embeddings.weight"), [...ids_T.slice(1), 0]);
      const both = [norm(ahead_TD, "mtp.layers.0.enorm.weight"), norm(y_TD, "mtp.layers.0.hnorm.weight")];
      const layer = "mtp.layers.0.transformer_layer";
      let h_TD = op.linear(op.concat(both, 1), weight("mtp.layers.0.eh_proj.weight"));
      h_TD = op.add(h_TD, attention(h_TD, `${layer}.self_attention`));
      h_TD = op.add(h_TD, experts(h_TD, layer, "mtp.0"));
      yield { name: "mtp.0", value: norm(h_TD, "mtp.layers.0.final_layernorm.weight"), keep: [y_TD] };
    }
    yield { name: "norm", value: y_TD };
    // share_embeddings_and_output_weights
    return op.linear(y_TD, weight(config.tied ? "embedding.word_embeddings.weight" : "output_layer.weight"));
  };
}

/**
 * TopKRouter. moe_router_pre_softmax is what HF says by norm_topk_prob: false; without it scores are the softmax over the
 * chosen experts alone.
 */
const routerOf = (k: number, preSoftmax: boolean): Router => ({
  k,
  select: (logits_E) => (preSoftmax ? softmax(logits_E) : logits_E),
  weigh(logits_E, experts) {
    if (!preSoftmax) return [...softmax(Float64Array.from(experts, (e) => logits_E[e]!))];
    const scores_E = softmax(logits_E);
    return experts.map((e) => scores_E[e]!);
  },
});

/** TransformerLayer: what each half adds to the residual stream. */
function transformerLayer<X extends Node>(op: Ops<X>, weight: Weights<X>, config: Qwen3NextConfig, table: RopeTable) {
  const { nKvHeads, headDim: H, normEps, delta } = config;
  const R = config.nHeads / nKvHeads;
  const router = routerOf(config.topK, !config.normTopK);

  /** layernorm_zero_centered_gamma: (1 + weight) · x / rms(x). */
  const norm = (x: X, key: string) => op.rmsNorm(x, op.affine(weight(key), 1, 1), normEps);

  /** linear_qkv has, for each key head, its R queries, their R gates, the key and the value. */
  function attention(x_TD: X, module: string): X {
    const T = x_TD.shape[0]!;
    const h_TD = norm(x_TD, `${module}.linear_qkv.layer_norm_weight`);
    const mixed = op.reshape(op.linear(h_TD, weight(`${module}.linear_qkv.weight`)), [T, nKvHeads, (2 * R + 2) * H]);
    const part = (begin: number, heads: number) =>
      op.reshape(op.slice(mixed, 2, begin * H, (begin + heads) * H), [T, nKvHeads * heads, H]);
    const q_TNH = norm(part(0, R), `${module}.q_layernorm.weight`);
    const k_TKH = norm(part(2 * R, 1), `${module}.k_layernorm.weight`);
    const out_TNH = op.attention(op.rope(q_TNH, table, "half"), op.rope(k_TKH, table, "half"), part(2 * R + 1, 1), {
      scale: H ** -0.5,
      mask: { kind: "causal" },
    });
    const gated_TNH = op.mul(out_TNH, op.map("sigmoid", part(R, R)));
    return op.linear(op.reshape(gated_TNH, [T, config.nHeads * H]), weight(`${module}.linear_proj.weight`));
  }

  /** fla's l2norm: x / √(Σ x² + 1e-6), the sum over a head's K channels. */
  const l2norm = (x_TJK: X) => op.affine(op.rmsNorm(x_TJK, null, 1e-6 / delta.keyHeadDim), delta.keyHeadDim ** -0.5);

  /** GatedDeltaNet: out_proj ((1 + weight) · norm(o) ⊙ silu(z)), o by the gated delta rule over convolved q, k and v. */
  function deltaNet(x_TD: X, module: string): X {
    const { nKeyHeads: J, nValueHeads: W, keyHeadDim: K, valueHeadDim: V, kernel } = delta;
    const T = x_TD.shape[0]!;
    const h_TD = norm(x_TD, `${module}.in_proj.layer_norm_weight`);
    const project = (name: string) => op.linear(h_TD, weight(`${module}.in_proj.weight.${name}`));
    const convolved = (name: string, heads: number, channels: number) => {
      const filters = op.reshape(weight(`${module}.conv1d.weight.${name}`), [heads * channels, kernel]);
      return op.reshape(op.map("silu", op.causalConv(project(name), filters)), [T, heads, channels]);
    };
    const q_TJK = op.affine(l2norm(convolved("query", J, K)), K ** -0.5);
    const k_TJK = l2norm(convolved("key", J, K));
    // g = −exp(A_log) · softplus(alpha + dt_bias)
    const step_TW = op.map("softplus", op.add(project("alpha"), weight(`${module}.dt_bias`)));
    const g_TW = op.affine(op.mul(step_TW, op.map("exp", weight(`${module}.A_log`))), -1);
    const o_TWV = op.deltaRule(q_TJK, k_TJK, convolved("value", W, V), g_TW, op.map("sigmoid", project("beta")));
    const z_TWV = op.reshape(project("z"), [T, W, V]);
    const y_TWV = op.mul(norm(o_TWV, `${module}.out_norm.weight`), op.map("silu", z_TWV));
    return op.linear(op.reshape(y_TWV, [T, W * V]), weight(`${module}.out_proj.weight`));
  }

  /** linear_fc2 (silu(gate) ⊙ up), gate above up in linear_fc1. */
  function glu(x_TD: X, fc1: X, fc2: X): X {
    const both = op.linear(x_TD, fc1);
    const F = both.shape[1]! / 2;
    return op.linear(op.mul(op.map("silu", op.slice(both, 1, 0, F)), op.slice(both, 1, F, 2 * F)), fc2);
  }

  const dense = (x_TD: X, layer: string) =>
    glu(
      norm(x_TD, `${layer}.mlp.linear_fc1.layer_norm_weight`),
      weight(`${layer}.mlp.linear_fc1.weight`),
      weight(`${layer}.mlp.linear_fc2.weight`),
    );

  function experts(x_TD: X, layer: string, name: string): X {
    const module = `${layer}.mlp`;
    const w = (part: string) => weight(`${module}.${part}.weight`);
    const h_TD = norm(x_TD, `${layer}.pre_mlp_layernorm.weight`);
    const of = (stacked: X, e: number) => op.reshape(op.slice(stacked, 0, e, e + 1), stacked.shape.slice(1));
    const [fc1_EFD, fc2_EDF] = [w("experts.experts.linear_fc1"), w("experts.experts.linear_fc2")];
    const routing = { name, logits_TE: op.linear(h_TD, w("router")), router, weighs: "output" } as const;
    const routed_TD = op.mixture(h_TD, routing, (x_nD, e) => glu(x_nD, of(fc1_EFD, e), of(fc2_EDF, e)));
    const shared_TD = glu(h_TD, w("shared_experts.linear_fc1"), w("shared_experts.linear_fc2"));
    const gate_T1 = op.map("sigmoid", op.linear(h_TD, weight(`${module}.shared_experts.gate_weight`)));
    return op.add(routed_TD, op.mul(shared_TD, gate_T1));
  }

  return { attention, deltaNet, dense, experts, norm };
}

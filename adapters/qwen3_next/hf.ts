// Qwen3-Next as transformers runs it. Suffixes name axes as in numerics/graph.ts; G is the ffn of an expert. Of a delta net J
// key heads, each with the K channels of a query and of a key, and with R value heads of V channels.
//   huggingface/transformers@v5.23.0:src/transformers/models/qwen3_next/modeling_qwen3_next.py
//   vllm-project/vllm@002d6073aa034d4f5545d45021b0e56d1f3c3593:vllm/model_executor/models/qwen3_next_mtp.py, for the head
//   that predicts a second token, which transformers leaves out
import type { Forward, Node, Ops, RopeTable, Weights } from "../../numerics/graph.ts";
import { ropeTable, transformersFrequencies } from "../../numerics/rope.ts";
import { hfGatedDelta, routerOf, zeroCentredNorm } from "../common/gated-delta/hf.ts";
import type { Qwen3NextConfig } from "./config.ts";

export function hfForward(config: Qwen3NextConfig): Forward {
  const { normEps, nLayers } = config;
  const frequencies = transformersFrequencies(config.rope);

  return function* (op, weight, { ids_T, has }) {
    const layer = decoderLayer(op, weight, config, ropeTable(frequencies, [...ids_T.keys()]));
    let hidden_TD = op.gather(weight("model.embed_tokens.weight"), ids_T);
    yield { name: "embed", value: hidden_TD };

    for (let l = 0; l < nLayers; l++) {
      const mix = config.fullLayers.includes(l) ? layer.selfAttention : layer.linearAttention;
      hidden_TD = op.add(hidden_TD, mix(hidden_TD, `model.layers.${l}`));
      yield { name: `layers.${l}.attn`, value: hidden_TD };
      const feedForward = config.denseLayers.includes(l) ? layer.dense : layer.experts;
      hidden_TD = op.add(hidden_TD, feedForward(hidden_TD, `model.layers.${l}`, `layers.${l}`));
      yield { name: `layers.${l}.ffn`, value: hidden_TD };
    }

    const last_TD = zeroCentredNorm(op, hidden_TD, weight("model.norm.weight"), normEps);
    if (has?.("mtp.fc.weight")) {
      const joined = op.concat(
        [
          layer.norm(
            op.gather(weight("model.embed_tokens.weight"), [...ids_T.slice(1), 0]),
            "mtp.pre_fc_norm_embedding",
          ),
          layer.norm(last_TD, "mtp.pre_fc_norm_hidden"),
        ],
        1,
      );
      let next_TD = op.linear(joined, weight("mtp.fc.weight"));
      next_TD = op.add(next_TD, layer.selfAttention(next_TD, "mtp.layers.0"));
      next_TD = op.add(next_TD, layer.experts(next_TD, "mtp.layers.0", "mtp.0"));
      yield { name: "mtp.0", value: layer.norm(next_TD, "mtp.norm"), keep: [last_TD] };
    }
    yield { name: "norm", value: last_TD };
    return op.linear(last_TD, weight(config.tied ? "model.embed_tokens.weight" : "lm_head.weight"));
  };
}

/** The parts of a layer. Each reads the residual stream and returns what is added to it. */
function decoderLayer<X extends Node>(op: Ops<X>, weight: Weights<X>, config: Qwen3NextConfig, cosSin: RopeTable) {
  const { delta } = config;
  const parts = hfGatedDelta(op, weight, config, cosSin);
  const { linear, norm } = parts;
  const before = (hidden_TD: X, layer: string) => norm(hidden_TD, `${layer}.input_layernorm`);
  const between = (hidden_TD: X, layer: string) => norm(hidden_TD, `${layer}.post_attention_layernorm`);

  const selfAttention = (hidden_TD: X, layer: string) =>
    parts.selfAttention(before(hidden_TD, layer), `${layer}.self_attn`);

  /** fix_query_key_value_ordering: each key head's query, key, values and gates lie together, as do its betas and alphas. */
  function linearAttention(hidden_TD: X, layer: string): X {
    const module = `${layer}.linear_attn`;
    const normed_TD = before(hidden_TD, layer);
    const T = normed_TD.shape[0]!;
    const { nKeyHeads: J, nValueHeads: W, keyHeadDim: K, valueHeadDim: V } = delta;
    const R = W / J;
    const qkvz = op.reshape(linear(normed_TD, `${module}.in_proj_qkvz`), [T, J, 2 * K + 2 * R * V]);
    const ba = op.reshape(linear(normed_TD, `${module}.in_proj_ba`), [T, J, 2 * R]);
    const part = (from: X, begin: number, size: number) => op.slice(from, 2, begin, begin + size);
    const flat = (x: X) => op.reshape(x, [T, x.shape[1]! * x.shape[2]!]);
    const [q_TJK, k_TJK, v_TJR] = [part(qkvz, 0, K), part(qkvz, K, K), part(qkvz, 2 * K, R * V)];
    const projected = {
      qkv_TC: op.concat([flat(q_TJK), flat(k_TJK), flat(v_TJR)], 1),
      z_TWV: op.reshape(part(qkvz, 2 * K + R * V, R * V), [T, W, V]),
      b_TW: op.reshape(part(ba, 0, R), [T, W]),
      a_TW: op.reshape(part(ba, R, R), [T, W]),
    };
    return parts.linearAttention(projected, module);
  }

  const dense = (hidden_TD: X, layer: string) => parts.gatedMlp(between(hidden_TD, layer), `${layer}.mlp`);

  function experts(hidden_TD: X, layer: string, name: string): X {
    const normed_TD = between(hidden_TD, layer);
    const module = `${layer}.mlp`;
    const routing = {
      name,
      logits_TE: linear(normed_TD, `${module}.gate`),
      router: routerOf(config.topK, config.normTopK),
      weighs: "output",
    } as const;
    const routed_TD = op.mixture(normed_TD, routing, (x_nD, e) => parts.gatedMlp(x_nD, `${module}.experts.${e}`));
    return op.add(routed_TD, parts.sharedExpert(normed_TD, module));
  }

  return { norm, selfAttention, linearAttention, dense, experts };
}

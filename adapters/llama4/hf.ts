// Llama 4's text model as transformers runs it. Suffixes name axes as in numerics/graph.ts; G is the ffn of an expert.
//   huggingface/transformers@v5.23.0:src/transformers/models/llama4/modeling_llama4.py
import type { AttentionMask, Forward, Router } from "../../numerics/graph.ts";
import { ropeTable, transformersFrequencies } from "../../numerics/rope.ts";
import { sigmoid } from "../../numerics/routing.ts";
import type { Llama4Config } from "./config.ts";

/** Llama4Router: the largest logits; all others become −∞, whose sigmoid is 0. */
const routerOf = ({ topK }: Llama4Config): Router => ({
  k: topK,
  select: (logits_E) => logits_E,
  weigh: (logits_E, experts) => experts.map((e) => sigmoid(logits_E[e]!)),
});

const f32 = Math.fround;

/** `attn_scales` of each position: 1 + scale · log1p(⌊(position + 1) / floor⌋), in f32. */
const temperatures = (tokens: number, { floor, scale }: NonNullable<Llama4Config["temperature"]>): number[] =>
  Array.from({ length: tokens }, (_, t) => f32(f32(f32(Math.log1p(Math.floor((t + 1) / floor))) * f32(scale)) + 1));

export function hfForward(config: Llama4Config): Forward {
  const { nHeads, nKvHeads, headDim, expertDim, normEps, attentionBias } = config;
  const frequencies = transformersFrequencies(config.rope);
  const router = routerOf(config);
  const prefix = config.sees ? "language_model." : "";

  return function* (op, weight, { ids_T }) {
    const tokens = ids_T.length;
    const cosSin = ropeTable(frequencies, [...ids_T.keys()]);
    const w = (module: string) => weight(`${prefix}${module}.weight`);
    const b = (module: string) => (attentionBias ? weight(`${prefix}${module}.bias`) : undefined);
    const mlp = (x_TD: typeof hidden_TD, module: string) => {
      const gate_TF = op.map("silu", op.linear(x_TD, w(`${module}.gate_proj`)));
      return op.linear(op.mul(gate_TF, op.linear(x_TD, w(`${module}.up_proj`))), w(`${module}.down_proj`));
    };
    /** `x @ stacked[e]`: the stack holds [in, out], the weight of a linear map is [out, in]. */
    const matrix = (stacked_EIO: typeof hidden_TD, e: number) =>
      op.permute(op.reshape(op.slice(stacked_EIO, 0, e, e + 1), stacked_EIO.shape.slice(1)), [1, 0]);

    let hidden_TD = op.gather(w("model.embed_tokens"), ids_T);
    yield { name: "embed", value: hidden_TD };

    for (let l = 0; l < config.nLayers; l++) {
      const layer = `model.layers.${l}`;

      // Attention: rotated layers normalise after the rotation, the others grow their queries with the position
      const attention = `${layer}.self_attn`;
      const normed_TD = op.rmsNorm(hidden_TD, w(`${layer}.input_layernorm`), normEps);
      const heads = (name: string, count: number) =>
        op.reshape(op.linear(normed_TD, w(`${attention}.${name}`), b(`${attention}.${name}`)), [
          tokens,
          count,
          headDim,
        ]);
      let q_TNH = heads("q_proj", nHeads);
      let k_TKH = heads("k_proj", nKvHeads);
      const isRotated = config.ropeLayers.includes(l);
      if (isRotated) {
        q_TNH = op.rope(q_TNH, cosSin, "adjacent");
        k_TKH = op.rope(k_TKH, cosSin, "adjacent");
      }
      if (isRotated && config.qkNorm) {
        q_TNH = op.rmsNorm(q_TNH, null, normEps);
        k_TKH = op.rmsNorm(k_TKH, null, normEps);
      }
      if (!isRotated && config.temperature !== null)
        q_TNH = op.mul(q_TNH, op.constant(temperatures(tokens, config.temperature), [tokens, 1, 1]));
      const mask: AttentionMask = config.chunkedLayers.includes(l)
        ? { kind: "chunk", size: config.chunkSize }
        : { kind: "causal" };
      const mixed_TNH = op.attention(q_TNH, k_TKH, heads("v_proj", nKvHeads), { scale: headDim ** -0.5, mask });
      const mixed_TI = op.reshape(mixed_TNH, [tokens, nHeads * headDim]);
      hidden_TD = op.add(hidden_TD, op.linear(mixed_TI, w(`${attention}.o_proj`), b(`${attention}.o_proj`)));
      yield { name: `layers.${l}.attn`, value: hidden_TD };

      // Feed-forward: shared(x) + Σ down(silu(gate (s·x)) ⊙ up (s·x)) over the chosen experts, or one MLP
      const input_TD = op.rmsNorm(hidden_TD, w(`${layer}.post_attention_layernorm`), normEps);
      const module = `${layer}.feed_forward`;
      if (config.moeLayers.includes(l)) {
        const gateUp_EDG2 = weight(`${prefix}${module}.experts.gate_up_proj`);
        const down_EGD = weight(`${prefix}${module}.experts.down_proj`);
        const routing = {
          name: `layers.${l}`,
          logits_TE: op.linear(input_TD, w(`${module}.router`)),
          router,
          weighs: "input",
        } as const;
        const routed_TD = op.mixture(input_TD, routing, (x_nD, e) => {
          const gateUp_nG2 = op.linear(x_nD, matrix(gateUp_EDG2, e));
          const gate_nG = op.map("silu", op.slice(gateUp_nG2, 1, 0, expertDim));
          const up_nG = op.slice(gateUp_nG2, 1, expertDim, 2 * expertDim);
          return op.linear(op.mul(gate_nG, up_nG), matrix(down_EGD, e));
        });
        hidden_TD = op.add(hidden_TD, op.add(mlp(input_TD, `${module}.shared_expert`), routed_TD));
      } else {
        hidden_TD = op.add(hidden_TD, mlp(input_TD, module));
      }
      yield { name: `layers.${l}.ffn`, value: hidden_TD };
    }

    const last_TD = op.rmsNorm(hidden_TD, w("model.norm"), normEps);
    yield { name: "norm", value: last_TD };
    return op.linear(last_TD, w(config.tied ? "model.embed_tokens" : "lm_head"));
  };
}

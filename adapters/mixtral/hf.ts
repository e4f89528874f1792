// Mixtral as transformers runs it. Suffixes name axes as in numerics/graph.ts; G is the ffn of an expert.
//   huggingface/transformers@v5.23.0:src/transformers/models/mixtral/modeling_mixtral.py
import type { Forward, Router } from "../../numerics/graph.ts";
import { ropeTable, transformersFrequencies } from "../../numerics/rope.ts";
import { softmax } from "../../numerics/routing.ts";
import type { MixtralConfig } from "./config.ts";

/** MixtralTopKRouter: probabilities over all experts; those of the chosen ones are divided by their sum. */
const routerOf = (topK: number): Router => ({
  k: topK,
  select: (logits_E) => softmax(logits_E),
  weigh(logits_E, experts) {
    const probabilities = softmax(logits_E);
    const sum = experts.reduce((total, e) => total + probabilities[e]!, 0);
    return experts.map((e) => probabilities[e]! / sum);
  },
});

export function hfForward(config: MixtralConfig): Forward {
  const { nHeads, nKvHeads, headDim, normEps, window } = config;
  const frequencies = transformersFrequencies(config.rope);
  const router = routerOf(config.topK);
  const mask = window === null ? ({ kind: "causal" } as const) : ({ kind: "window", size: window } as const);

  return function* (op, weight, { ids_T }) {
    const tokens = ids_T.length;
    const cosSin = ropeTable(frequencies, [...ids_T.keys()]);
    const w = (module: string) => weight(`${module}.weight`);

    let hidden_TD = op.gather(w("model.embed_tokens"), ids_T);
    yield { name: "embed", value: hidden_TD };

    for (let l = 0; l < config.nLayers; l++) {
      const layer = `model.layers.${l}`;

      // Attention: softmax(rope(q) · rope(k)ᵀ · headDim^-½) · v
      const attention = `${layer}.self_attn`;
      const normed_TD = op.rmsNorm(hidden_TD, w(`${layer}.input_layernorm`), normEps);
      const heads = (name: string, count: number) =>
        op.reshape(op.linear(normed_TD, w(`${attention}.${name}`)), [tokens, count, headDim]);
      const mixed_TNH = op.attention(
        op.rope(heads("q_proj", nHeads), cosSin, "half"),
        op.rope(heads("k_proj", nKvHeads), cosSin, "half"),
        heads("v_proj", nKvHeads),
        { scale: headDim ** -0.5, mask },
      );
      const mixed_TI = op.reshape(mixed_TNH, [tokens, nHeads * headDim]);
      hidden_TD = op.add(hidden_TD, op.linear(mixed_TI, w(`${attention}.o_proj`)));
      yield { name: `layers.${l}.attn`, value: hidden_TD };

      // Experts: Σ weight · w2(silu(w1 x) ⊙ w3 x) over the chosen ones, under the names of the files
      const moe = `${layer}.block_sparse_moe`;
      const input_TD = op.rmsNorm(hidden_TD, w(`${layer}.post_attention_layernorm`), normEps);
      const routing = {
        name: `layers.${l}`,
        logits_TE: op.linear(input_TD, w(`${moe}.gate`)),
        router,
        weighs: "output",
      } as const;
      const routed_TD = op.mixture(input_TD, routing, (x_nD, e) => {
        const gate_nG = op.map("silu", op.linear(x_nD, w(`${moe}.experts.${e}.w1`)));
        const product_nG = op.mul(gate_nG, op.linear(x_nD, w(`${moe}.experts.${e}.w3`)));
        return op.linear(product_nG, w(`${moe}.experts.${e}.w2`));
      });
      hidden_TD = op.add(hidden_TD, routed_TD);
      yield { name: `layers.${l}.ffn`, value: hidden_TD };
    }

    const last_TD = op.rmsNorm(hidden_TD, w("model.norm"), normEps);
    yield { name: "norm", value: last_TD };
    return op.linear(last_TD, w(config.tied ? "model.embed_tokens" : "lm_head"));
  };
}

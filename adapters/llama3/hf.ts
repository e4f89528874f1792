// Llama as transformers runs it. Suffixes name axes as in numerics/graph.ts.
//   huggingface/transformers@v5.23.0:src/transformers/models/llama/modeling_llama.py
import type { Forward } from "../../numerics/graph.ts";
import { ropeTable, transformersFrequencies } from "../../numerics/rope.ts";
import type { Llama3Config } from "./config.ts";

export function hfForward(config: Llama3Config): Forward {
  const { nHeads, nKvHeads, headDim, normEps } = config;
  const frequencies = transformersFrequencies(config.rope);

  return function* (op, weight, { ids_T }) {
    const tokens = ids_T.length;
    const cosSin = ropeTable(frequencies, [...ids_T.keys()]);
    const w = (module: string) => weight(`${module}.weight`);
    const b = (module: string, present: boolean) => (present ? weight(`${module}.bias`) : undefined);

    // Model: embedding, decoder layers, final norm, head
    let hidden_TD = op.gather(w("model.embed_tokens"), ids_T);
    yield { name: "embed", value: hidden_TD };

    for (let l = 0; l < config.nLayers; l++) {
      const layer = `model.layers.${l}`;

      // Attention: softmax(rope(q) · rope(k)ᵀ · headDim^-½) · v
      const attention = `${layer}.self_attn`;
      const bias = config.attentionBias;
      const normed_TD = op.rmsNorm(hidden_TD, w(`${layer}.input_layernorm`), normEps);
      const q_TI = op.linear(normed_TD, w(`${attention}.q_proj`), b(`${attention}.q_proj`, bias));
      const k_TI = op.linear(normed_TD, w(`${attention}.k_proj`), b(`${attention}.k_proj`, bias));
      const v_TI = op.linear(normed_TD, w(`${attention}.v_proj`), b(`${attention}.v_proj`, bias));
      const q_TNH = op.reshape(q_TI, [tokens, nHeads, headDim]);
      const k_TKH = op.reshape(k_TI, [tokens, nKvHeads, headDim]);
      const v_TKH = op.reshape(v_TI, [tokens, nKvHeads, headDim]);
      const mixed_TNH = op.attention(op.rope(q_TNH, cosSin, "half"), op.rope(k_TKH, cosSin, "half"), v_TKH, {
        scale: headDim ** -0.5,
        mask: { kind: "causal" },
      });
      const mixed_TI = op.reshape(mixed_TNH, [tokens, nHeads * headDim]);
      const attended_TD = op.linear(mixed_TI, w(`${attention}.o_proj`), b(`${attention}.o_proj`, bias));
      hidden_TD = op.add(hidden_TD, attended_TD);
      yield { name: `layers.${l}.attn`, value: hidden_TD };

      // MLP: down(silu(gate(x)) ⊙ up(x))
      const mlp = `${layer}.mlp`;
      const input_TD = op.rmsNorm(hidden_TD, w(`${layer}.post_attention_layernorm`), normEps);
      const gate_TF = op.linear(input_TD, w(`${mlp}.gate_proj`), b(`${mlp}.gate_proj`, config.mlpBias));
      const up_TF = op.linear(input_TD, w(`${mlp}.up_proj`), b(`${mlp}.up_proj`, config.mlpBias));
      const product_TF = op.mul(op.map("silu", gate_TF), up_TF);
      hidden_TD = op.add(
        hidden_TD,
        op.linear(product_TF, w(`${mlp}.down_proj`), b(`${mlp}.down_proj`, config.mlpBias)),
      );
      yield { name: `layers.${l}.ffn`, value: hidden_TD };
    }

    const last_TD = op.rmsNorm(hidden_TD, w("model.norm"), normEps);
    yield { name: "norm", value: last_TD };
    return op.linear(last_TD, w(config.tied ? "model.embed_tokens" : "lm_head"));
  };
}

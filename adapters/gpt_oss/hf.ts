// gpt-oss as transformers runs it. Suffixes name axes as in numerics/graph.ts; G is the gate and up channels of an expert.
//   huggingface/transformers@v5.23.0:src/transformers/models/gpt_oss/modeling_gpt_oss.py
import type { Forward, Router } from "../../numerics/graph.ts";
import { ropeTable, transformersFrequencies } from "../../numerics/rope.ts";
import { softmax } from "../../numerics/routing.ts";
import type { GptOssConfig } from "./config.ts";

/** GptOssTopKRouter: the k largest logits, softmax among them. */
const routerOf = (k: number): Router => ({
  k,
  select: (logits_E) => logits_E,
  weigh: (logits_E, experts) => [...softmax(experts.map((e) => logits_E[e]!))],
});

export function hfForward(config: GptOssConfig): Forward {
  const { nHeads, nKvHeads, headDim, dim, expertDim, normEps, swigluAlpha, swigluLimit } = config;
  const frequencies = transformersFrequencies(config.rope);
  const router = routerOf(config.expertsPerToken);

  return function* (op, weight, { ids_T }) {
    const tokens = ids_T.length;
    const cosSin = ropeTable(frequencies, [...ids_T.keys()]);
    const w = (module: string) => weight(`${module}.weight`);

    let hidden_TD = op.gather(w("model.embed_tokens"), ids_T);
    yield { name: "embed", value: hidden_TD };

    for (let l = 0; l < config.nLayers; l++) {
      const layer = `model.layers.${l}`;

      // Attention: softmax over rope(q) · rope(k)ᵀ · headDim^-½ and the sink, whose share is dropped
      const attention = `${layer}.self_attn`;
      const normed_TD = op.rmsNorm(hidden_TD, w(`${layer}.input_layernorm`), normEps);
      const heads = (name: string, count: number) => {
        const module = `${attention}.${name}`;
        return op.reshape(op.linear(normed_TD, w(module), weight(`${module}.bias`)), [tokens, count, headDim]);
      };
      const window = config.windows[l] ?? null;
      const mixed_TNH = op.attention(
        op.rope(heads("q_proj", nHeads), cosSin, "half"),
        op.rope(heads("k_proj", nKvHeads), cosSin, "half"),
        heads("v_proj", nKvHeads),
        {
          scale: headDim ** -0.5,
          mask: window === null ? { kind: "causal" } : { kind: "window", size: window },
          sinks_N: weight(`${attention}.sinks`),
        },
      );
      const mixed_TI = op.reshape(mixed_TNH, [tokens, nHeads * headDim]);
      const output_TD = op.linear(mixed_TI, w(`${attention}.o_proj`), weight(`${attention}.o_proj.bias`));
      hidden_TD = op.add(hidden_TD, output_TD);
      yield { name: `layers.${l}.attn`, value: hidden_TD };

      // Experts: down((up + 1) ⊙ gate ⊙ sigmoid(alpha · gate)), gate and up in turns, clamped to the limit
      const input_TD = op.rmsNorm(hidden_TD, w(`${layer}.post_attention_layernorm`), normEps);
      const experts = `${layer}.mlp.experts`;
      const [gateUp, gateUpBias_EG] = [weight(`${experts}.gate_up_proj`), weight(`${experts}.gate_up_proj_bias`)];
      const [down, downBias_ED] = [weight(`${experts}.down_proj`), weight(`${experts}.down_proj_bias`)];
      // MXFP4 files store a matrix [out, in], other files [in, out]. Of the two stacks one at least is not square.
      const byOutput = dim === 2 * expertDim ? down.shape[1] === dim : gateUp.shape[2] === dim;
      const matrix = (stacked: typeof gateUp, e: number) => {
        const one = op.reshape(op.slice(stacked, 0, e, e + 1), stacked.shape.slice(1));
        return byOutput ? one : op.permute(one, [1, 0]);
      };
      const bias = (stacked: typeof gateUp, e: number) =>
        op.reshape(op.slice(stacked, 0, e, e + 1), [stacked.shape[1]!]);
      const routing = {
        name: `layers.${l}`,
        logits_TE: op.linear(input_TD, w(`${layer}.mlp.router`), weight(`${layer}.mlp.router.bias`)),
        router,
        weighs: "output",
      } as const;
      const mlp_TD = op.mixture(input_TD, routing, (x_nD, e) => {
        const n = x_nD.shape[0]!;
        const gateUp_nF2 = op.reshape(op.linear(x_nD, matrix(gateUp, e), bias(gateUpBias_EG, e)), [n, expertDim, 2]);
        const part = (i: number) => op.reshape(op.slice(gateUp_nF2, 2, i, i + 1), [n, expertDim]);
        const gate_nF = op.clamp(part(0), Number.NEGATIVE_INFINITY, swigluLimit);
        const up_nF = op.clamp(part(1), -swigluLimit, swigluLimit);
        const glu_nF = op.mul(gate_nF, op.map("sigmoid", op.affine(gate_nF, swigluAlpha)));
        return op.linear(op.mul(op.affine(up_nF, 1, 1), glu_nF), matrix(down, e), bias(downBias_ED, e));
      });
      hidden_TD = op.add(hidden_TD, mlp_TD);
      yield { name: `layers.${l}.ffn`, value: hidden_TD };
    }

    const last_TD = op.rmsNorm(hidden_TD, w("model.norm"), normEps);
    yield { name: "norm", value: last_TD };
    return op.linear(last_TD, w(config.tied ? "model.embed_tokens" : "lm_head"));
  };
}

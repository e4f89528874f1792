// Qwen3-VL as Megatron Bridge runs it: a GPTModel, dense or with experts, between whose first layers DeepStack adds to the rows of
// images. Suffixes name axes as in numerics/graph.ts.
//   NVIDIA-NeMo/Megatron-Bridge@067f987df:src/megatron/bridge/models/qwen_vl/modelling_qwen3_vl/{text_model,transformer_block}.py
import type { Forward, KnownDifference } from "../../numerics/graph.ts";
import { gatedMlp, gqa, type LayerBlock } from "../trainers/megatron-graph.ts";
import { mixtureOfExperts, softmaxRouter, swiglu } from "../trainers/megatron-graph-moe.ts";
import {
  checkTowerRope,
  MERGER_GELU,
  type MergerGelu,
  mropeFrequencies,
  mropePositions,
  mropeTable,
  placed,
  visionModel,
} from "../trainers/megatron-graph-vision.ts";
import type { Qwen3VlConfig } from "./config.ts";

export const megatronForward = (c: Qwen3VlConfig): Forward => forwardWith(c, "geluTanh");

export const megatronDifferences = (c: Qwen3VlConfig): readonly KnownDifference[] => [
  { ...MERGER_GELU, undone: forwardWith(c, "gelu") },
];

function forwardWith(c: Qwen3VlConfig, merger: MergerGelu): Forward {
  checkTowerRope(c.vision);
  const frequencies = mropeFrequencies(c.rope);
  const attention = gqa({
    ...c,
    qkNorm: true,
    qkvBias: c.attentionBias,
    projectionBias: c.attentionBias,
    mask: () => ({ kind: "causal" }),
  });
  const mlp = mlpOf(c);

  return function* (op, weight, { ids_T, images, positions_T3, has = () => false }) {
    const own = (name: string) => weight(`language_model.${name}`);
    const positions = positions_T3 ?? mropePositions(ids_T, images?.grids ?? [], c.tokens, c.vision.mergeSize);
    const table = mropeTable(frequencies, positions, c.mropeSection);
    const seen = images && (yield* visionModel(op, weight, has, c.vision, images, merger));
    const deepstack = seen?.deepstack ?? [];
    const places = [...ids_T.keys()].filter((t) => ids_T[t] === c.tokens.image);

    const text_TD = op.gather(own("embedding.word_embeddings.weight"), ids_T);
    let x_TD = seen === undefined ? text_TD : placed(op, text_TD, seen.images_MD, places);
    yield { name: "embed", value: x_TD, keep: deepstack };
    for (let l = 0; l < c.nLayers; l++) {
      const [name, module] = [`layers.${l}`, `language_model.decoder.layers.${l}`];
      const at = {
        ...{ op, layer: l, table, name },
        weight: (tensor: string) => weight(`${module}.${tensor}`),
        has: (tensor: string) => has(`${module}.${tensor}`),
      };
      const keep = deepstack.slice(l);
      x_TD = op.add(x_TD, attention(at, x_TD));
      yield { name: `${name}.attn`, value: x_TD, keep };
      x_TD = op.add(x_TD, mlp(at, x_TD));
      yield { name: `${name}.ffn`, value: x_TD, keep };
      const added_MD = deepstack[l];
      if (added_MD === undefined) continue;
      x_TD = placed(op, x_TD, op.add(op.gather(x_TD, places), added_MD), places);
      yield { name: `${name}.deepstack`, value: x_TD, keep: deepstack.slice(l + 1) };
    }
    const y_TD = op.rmsNorm(x_TD, own("decoder.final_layernorm.weight"), c.normEps);
    yield { name: "norm", value: y_TD };
    // share_embeddings_and_output_weights
    return op.linear(y_TD, own(c.tied ? "embedding.word_embeddings.weight" : "output_layer.weight"));
  };
}

function mlpOf(c: Qwen3VlConfig): LayerBlock {
  const dense = gatedMlp({ normEps: c.normEps, bias: false });
  if (c.moe === null) return dense;
  const { denseLayers, topK } = c.moe;
  const experts = mixtureOfExperts({
    normEps: c.normEps,
    router: softmaxRouter(topK, false),
    activation: swiglu,
    expertBias: false,
    bias: false,
    shared: false,
  });
  return (at, x_TD) => (denseLayers.includes(at.layer) ? dense : experts)(at, x_TD);
}

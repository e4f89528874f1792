// Qwen3.5 as Megatron runs it: text alone is a GPTModel of Megatron-Core's, a model with a tower Megatron Bridge's Qwen3VLModel.
//   NVIDIA-NeMo/Megatron-Bridge@067f987df:src/megatron/bridge/models/qwen_vl/qwen35_vl_provider.py
//   NVIDIA-NeMo/Megatron-Bridge@067f987df:src/megatron/bridge/models/qwen_vl/modelling_qwen3_vl/{model,text_model}.py
import type { Forward, KnownDifference } from "../../numerics/graph.ts";
import { ropeTable } from "../../numerics/rope.ts";
import { gatedDeltaGpt } from "../common/gated-delta/megatron-graph.ts";
import { megatronFrequencies } from "../trainers/megatron-graph.ts";
import { softmaxRouter } from "../trainers/megatron-graph-moe.ts";
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
import type { Qwen35Config } from "./config.ts";

export const megatronForward = (c: Qwen35Config): Forward => forwardWith(c, "geluTanh");

export const megatronDifferences = (c: Qwen35Config): readonly KnownDifference[] =>
  c.vision === null ? [] : [{ ...MERGER_GELU, undone: forwardWith(c, "gelu") }];

function forwardWith(c: Qwen35Config, merger: MergerGelu): Forward {
  // moe_router_pre_softmax is false
  const router = c.moe === null ? null : softmaxRouter(c.moe.topK, false);
  const model = { ...c, router: () => router };
  const { vision, tokens } = c;
  if (vision === null || tokens === null) {
    const frequencies = megatronFrequencies(c.rope);
    return function* (op, weight, { ids_T, has = () => false }) {
      const positions = ids_T.map((_, t) => t);
      return yield* gatedDeltaGpt(model, { op, weight, has, ids_T, table: ropeTable(frequencies, positions) });
    };
  }
  checkTowerRope(vision);
  const frequencies = mropeFrequencies(c.rope);
  return function* (op, weight, { ids_T, images, positions_T3, has = () => false }) {
    const own = (name: string) => weight(`language_model.${name}`);
    const positions = positions_T3 ?? mropePositions(ids_T, images?.grids ?? [], tokens, vision.mergeSize);
    const seen = images && (yield* visionModel(op, weight, has, vision, images, merger));
    const places = [...ids_T.keys()].filter((t) => ids_T[t] === tokens.image);
    const run = {
      op,
      weight: own,
      has: (name: string) => has(`language_model.${name}`),
      ids_T,
      table: mropeTable(frequencies, positions, c.mropeSection),
    };
    if (seen === undefined) return yield* gatedDeltaGpt(model, run);
    const text_TD = op.gather(own("embedding.word_embeddings.weight"), ids_T);
    return yield* gatedDeltaGpt(model, { ...run, decoderInput_TD: placed(op, text_TD, seen.images_MD, places) });
  };
}

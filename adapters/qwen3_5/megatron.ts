// Qwen3.5 as Megatron-Core saves it. A model with a tower is Megatron Bridge's Qwen3VLModel, one of text alone a GPTModel. Axes as
// in mapping.ts.
//   NVIDIA-NeMo/Megatron-Bridge@067f987df:src/megatron/bridge/models/qwen/qwen35_bridge.py
//   NVIDIA-NeMo/Megatron-Bridge@067f987df:src/megatron/bridge/models/qwen_vl/qwen35_vl_bridge.py
import { announced, inOrder, type MapRule, map, type Rule } from "../../src/table/rule.ts";
import {
  deltaNet,
  gatedAttention,
  gatedDeltaStates,
  gatedMixture,
  inParts,
  SECOND,
  secondToken,
} from "../common/gated-delta/megatron.ts";
import {
  embedding,
  finalNorm,
  gatedMlp,
  head,
  type Layer,
  layers,
  preMlpNorm,
  singleLayers,
} from "../trainers/megatron.ts";
import { expertForms } from "../trainers/megatron-moe.ts";
import { bridgeModel, bridgeStates } from "../trainers/megatron-vision.ts";
import type { Qwen35Config } from "./config.ts";
import { alsoAsPart, MTP, PER_EXPERT } from "./mapping.ts";

export const megatronRules = (c: Qwen35Config): Rule[] =>
  c.vision === null
    ? decoder(c).map(alsoAsPart)
    : bridgeModel({ language: decoder(c), unlike: true, tower: { patches: "m" } });

const decoder = (c: Qwen35Config): Rule[] => [
  ...embedding(),
  ...layers(
    (layer) => [
      ...(c.fullLayers.length < c.nLayers ? deltaNet(layer.over("delta"), projections(layer.over("delta"))) : []),
      ...(c.fullLayers.length > 0 ? gatedAttention(layer.over("full")) : []),
      ...(c.moe === null ? feedForward(layer) : mixture(layer)),
    ],
    { unlike: true },
  ),
  finalNorm(),
  ...head(c.tied),
  ...singleLayers((layer) => further(c, layer), SECOND),
];

/** As Hugging Face's files have the rows of in_proj, side by side. */
const projections = (layer: Layer): MapRule[] => [
  map("deltaProjection", inParts(layer, "in_proj", { query: "(j K) d", key: "(j K) d", value: "(w V) d" }), {
    [layer.hf("linear_attn.in_proj_qkv.weight")]: "(query: j K | key: j K | value: w V) d",
  }),
  ...Object.entries({ z: ["z", "(w V) d"], beta: ["b", "w d"], alpha: ["a", "w d"] }).map(([own, [hf, dims]]) =>
    layer.row(`self_attention.in_proj.weight.${own}`, `linear_attn.in_proj_${hf}.weight`, `${dims}`),
  ),
];

const feedForward = (layer: Layer): MapRule[] => [preMlpNorm(layer), ...gatedMlp(layer, "mlp", "mlp", "f")];

const mixture = (layer: Layer): MapRule[] => {
  const { each, stacked } = expertForms(layer);
  return gatedMixture(layer, inOrder(PER_EXPERT, stacked, each));
};

/** Its experts are stacked in Qwen3.6's files, and one by one in Qwen3.5's. */
function further(c: Qwen35Config, layer: Layer): MapRule[] {
  const whole = (mlp: readonly MapRule[]) => {
    const rule = secondToken([...gatedAttention(layer), ...mlp]);
    return c.announcesMtp ? announced(MTP, rule) : rule;
  };
  if (c.moe === null) return [whole(feedForward(layer))];
  const [stacked, each] = [expertForms(layer).stacked, expertForms(layer).each].map((experts) =>
    whole(gatedMixture(layer, experts)),
  );
  return inOrder(PER_EXPERT, [stacked!], [each!]);
}

export function emptyEntries(c: Qwen35Config): readonly string[] {
  const language = gatedDeltaStates(c, () => c.moe?.nExperts ?? 0);
  return c.vision === null ? language : bridgeStates(language, { nBlocks: c.vision.nBlocks });
}

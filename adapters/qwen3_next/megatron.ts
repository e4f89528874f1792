// Qwen3-Next as Megatron-Core saves it. Layers of several kinds stand one by one. A delta net's projection and convolution are
// saved in parts. Axes as in mapping.ts; m the layers that predict a second token.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/ssm/gated_delta_net.py, `sharded_state_dict`
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/transformer/attention.py, `get_query_key_value_tensors`
//   NVIDIA-NeMo/Megatron-Bridge@067f987df:src/megatron/bridge/models/qwen/qwen3_next_bridge.py
import {
  critical,
  inCanonicalOrder,
  type MapRule,
  map,
  optional,
  plus,
  type Rule,
  rename,
  together,
} from "../../src/table/rule.ts";
import { DECAY, STATE_NORM } from "../common/critical.ts";
import {
  type Block,
  embedding,
  finalNorm,
  gatedMlp,
  head,
  inputNorm,
  type Layer,
  type LayerRules,
  layers,
  outputProjection,
  preMlpNorm,
  qkNorms,
  singleLayers,
} from "../trainers/megatron.ts";
import { experts, furtherStates, layerStates, router, sharedExperts } from "../trainers/megatron-moe.ts";
import type { Qwen3NextConfig } from "./config.ts";

export const megatronRules = (c: Qwen3NextConfig): Rule[] => [
  ...embedding(),
  ...layers(
    (layer) => [
      ...(c.fullLayers.length < c.nLayers ? deltaNet(layer.over("delta")) : []),
      ...(c.fullLayers.length > 0 ? attention(layer.over("full")) : []),
      ...(c.denseLayers.length > 0
        ? [preMlpNorm(layer.over("dense")), ...gatedMlp(layer.over("dense"), "mlp", "mlp", "f")]
        : []),
      ...(c.denseLayers.length < c.nLayers ? mixture(layer.over("moe")) : []),
    ],
    { unlike: true },
  ),
  finalNorm(),
  ...head(c.tied),
  ...singleLayers(secondToken, SECOND),
];

/** Norms lie around 0 on both sides, but for the one behind the delta rule, which transformers has around 1. */
function deltaNet(layer: Layer): MapRule[] {
  const [own, hf] = ["self_attention", "linear_attn"];
  const parts = (tensor: string, dims: Readonly<Record<string, string>>) =>
    Object.assign(
      {},
      ...Object.entries(dims).map(([name, d]) => layer.term(`${own}.${tensor}.weight.${name}`, `${name}: ${d}`)),
    );
  return [
    layer.row(`${own}.in_proj.layer_norm_weight`, "input_layernorm.weight", "d", ["input_layernorm.weight"]),
    map("deltaProjection", parts("in_proj", { query: "(j K) d", key: "(j K) d", value: "(j R V) d", z: "(j R V) d" }), {
      [layer.hf(`${hf}.in_proj_qkvz.weight`)]: "(j (query: K | key: K | value: R V | z: R V)) d",
    }),
    map("deltaGates", parts("in_proj", { beta: "(j R) d", alpha: "(j R) d" }), {
      [layer.hf(`${hf}.in_proj_ba.weight`)]: "(j (beta: R | alpha: R)) d",
    }),
    map("convolution", parts("conv1d", { query: "(j K) one s", key: "(j K) one s", value: "(w V) one s" }), {
      [layer.hf(`${hf}.conv1d.weight`)]: "(query: j K | key: j K | value: w V) one s",
    }),
    critical(DECAY, layer.row(`${own}.A_log`, `${hf}.A_log`, "w")),
    layer.row(`${own}.dt_bias`, `${hf}.dt_bias`, "w"),
    critical(STATE_NORM, plus(1, layer.row(`${own}.out_norm.weight`, `${hf}.norm.weight`, "V"))),
    layer.row(`${own}.out_proj.weight`, `${hf}.out_proj.weight`, "d (w V)"),
  ];
}

/** Rows by key head: its query heads, their gates, the key, the value. In q_proj each head's query and gate lie together. */
const attention = (layer: Layer): MapRule[] => [
  inputNorm(layer),
  map(
    "gatedQkv",
    layer.term("self_attention.linear_qkv.weight", "(k (query: r H | gate: r H | key: H | value: H)) d"),
    {
      [layer.hf("self_attn.q_proj.weight")]: "(k r (query: H | gate: H)) d",
      [layer.hf("self_attn.k_proj.weight")]: "key: (k H) d",
      [layer.hf("self_attn.v_proj.weight")]: "value: (k H) d",
    },
  ),
  outputProjection(layer),
  ...qkNorms(layer),
];

/** Gated delta nets are built of Transformer Engine's modules alone, which have one name for the norm before experts. */
const mixture = (layer: Layer): MapRule[] => [
  layer.row("pre_mlp_layernorm.weight", "post_attention_layernorm.weight", "d", ["mlp.linear_fc1.layer_norm_weight"]),
  router(layer),
  ...experts(layer),
  ...sharedExperts(layer, "mlp.shared_expert", "y"),
  layer.row("mlp.shared_experts.gate_weight", "mlp.shared_expert_gate.weight", "one d"),
];

/** Configs do not announce this head, and transformers does not save it: it is present or absent as a whole. */
const SECOND: Partial<Block> = { native: "mtp.layers", inner: "transformer_layer", axis: "m", hf: "mtp.layers" };

const secondToken: LayerRules = (layer) => [
  optional(
    together("secondToken", [
      rename("mtp.layers.0.eh_proj.weight", "mtp.fc.weight", "d x"),
      rename("mtp.layers.0.enorm.weight", "mtp.pre_fc_norm_embedding.weight", "d"),
      rename("mtp.layers.0.hnorm.weight", "mtp.pre_fc_norm_hidden.weight", "d"),
      rename("mtp.layers.0.final_layernorm.weight", "mtp.norm.weight", "d"),
      ...inCanonicalOrder([...attention(layer), ...mixture(layer)]).map(renamedLater),
    ]),
  ),
];

/** Megatron-Core 0.19 names its layer `mtp_model_layer`. */
const renamedLater = (rule: MapRule): MapRule => ({
  ...rule,
  native: rule.native.map(({ spellings = [], ...term }) => {
    const later = [term.key, ...spellings].map((key) => key.replace("transformer_layer", "mtp_model_layer"));
    return { ...term, spellings: [...spellings, ...later] };
  }),
});

/** Whether there will be a head for a second token is not known of a config: its entries are always there. */
export const emptyEntries = (c: Qwen3NextConfig): readonly string[] => [
  ...Array.from({ length: c.nLayers }, (_, l) => l).flatMap((l) =>
    layerStates(`decoder.layers.${l}`, {
      attention: c.fullLayers.includes(l) ? "heads" : "delta",
      experts: c.denseLayers.includes(l) ? 0 : c.nExperts,
    }),
  ),
  "decoder.final_layernorm._extra_state/shard_0_1",
  ...furtherStates(1, { attention: "heads", experts: c.nExperts }),
];

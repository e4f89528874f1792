// What Qwen3-Next and Qwen3.5 have in common in Megatron-Core's checkpoints. Layers of several kinds stand one by one. A delta
// net's projection and convolution are saved in parts. Axes as in the families' mapping.ts: r query heads a
// key head, y the ffn of the shared expert, second the layer that predicts a second token, both two widths of the model.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/ssm/gated_delta_net.py, `sharded_state_dict`
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/transformer/attention.py, `get_query_key_value_tensors`
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/transformer/multi_token_prediction.py
import { critical, type MapRule, map, optional, plus, rename, type Terms, together } from "../../../src/table/rule.ts";
import { type Block, inputNorm, type Layer, outputProjection, qkNorms } from "../../trainers/megatron.ts";
import { furtherStates, layerStates, router, sharedExperts } from "../../trainers/megatron-moe.ts";
import { DECAY, STATE_NORM } from "../critical.ts";
import { range } from "./config.ts";

const OWN = "self_attention";

/** Parts of a tensor of a delta net, `name: dims`. */
export const inParts = (layer: Layer, tensor: string, dims: Readonly<Record<string, string>>): Terms =>
  Object.assign(
    {},
    ...Object.entries(dims).map(([name, d]) => layer.term(`${OWN}.${tensor}.weight.${name}`, `${name}: ${d}`)),
  );

/**
 * Norms lie around 0 on both sides, but for the one behind the delta rule, which transformers has around 1.
 * @param projections of in_proj, which the families' Hugging Face files cut differently
 */
export const deltaNet = (layer: Layer, projections: readonly MapRule[], hf = "linear_attn"): MapRule[] => [
  layer.row(`${OWN}.in_proj.layer_norm_weight`, "input_layernorm.weight", "d", ["input_layernorm.weight"]),
  ...projections,
  map("convolution", inParts(layer, "conv1d", { query: "(j K) one s", key: "(j K) one s", value: "(w V) one s" }), {
    [layer.hf(`${hf}.conv1d.weight`)]: "(query: j K | key: j K | value: w V) one s",
  }),
  critical(DECAY, layer.row(`${OWN}.A_log`, `${hf}.A_log`, "w")),
  layer.row(`${OWN}.dt_bias`, `${hf}.dt_bias`, "w"),
  critical(STATE_NORM, plus(1, layer.row(`${OWN}.out_norm.weight`, `${hf}.norm.weight`, "V"))),
  layer.row(`${OWN}.out_proj.weight`, `${hf}.out_proj.weight`, "d (w V)"),
];

/** Rows by key head: its query heads, their gates, the key, the value. In q_proj each head's query and gate lie together. */
export const gatedAttention = (layer: Layer): MapRule[] => [
  inputNorm(layer),
  map("gatedQkv", layer.term(`${OWN}.linear_qkv.weight`, "(k (query: r H | gate: r H | key: H | value: H)) d"), {
    [layer.hf("self_attn.q_proj.weight")]: "(k r (query: H | gate: H)) d",
    [layer.hf("self_attn.k_proj.weight")]: "key: (k H) d",
    [layer.hf("self_attn.v_proj.weight")]: "value: (k H) d",
  }),
  outputProjection(layer),
  ...qkNorms(layer),
];

/** Gated delta nets are built of Transformer Engine's modules alone, which have one name for the norm before experts. */
export const gatedMixture = (layer: Layer, experts: readonly MapRule[]): MapRule[] => [
  layer.row("pre_mlp_layernorm.weight", "post_attention_layernorm.weight", "d", ["mlp.linear_fc1.layer_norm_weight"]),
  router(layer),
  ...experts,
  ...sharedExperts(layer, "mlp.shared_expert", "y"),
  layer.row("mlp.shared_experts.gate_weight", "mlp.shared_expert_gate.weight", "one d"),
];

/** Where the layer of the head that predicts a second token stands. */
export const SECOND: Partial<Block> = {
  native: "mtp.layers",
  inner: "transformer_layer",
  axis: "second",
  hf: "mtp.layers",
};

/** transformers does not save this head: it is present or absent as a whole. `layer` is what its layer has. */
export const secondToken = (layer: readonly MapRule[]): MapRule =>
  optional(
    together("secondToken", [
      rename("mtp.layers.0.eh_proj.weight", "mtp.fc.weight", "d both"),
      rename("mtp.layers.0.enorm.weight", "mtp.pre_fc_norm_embedding.weight", "d"),
      rename("mtp.layers.0.hnorm.weight", "mtp.pre_fc_norm_hidden.weight", "d"),
      rename("mtp.layers.0.final_layernorm.weight", "mtp.norm.weight", "d"),
      ...layer.map(renamedLater),
    ]),
  );

/** Megatron-Core 0.19 names its layer `mtp_model_layer`. */
const renamedLater = (rule: MapRule): MapRule => ({
  ...rule,
  native: rule.native.map(({ spellings = [], ...term }) => {
    const later = [term.key, ...spellings].map((key) => key.replace("transformer_layer", "mtp_model_layer"));
    return { ...term, spellings: [...spellings, ...later] };
  }),
});

/**
 * What modules ask for in loading. Whether there will be a head for a second token is not known of a config: its entries are
 * always there.
 * @param experts how many a layer has; 0 in a dense one
 */
export const gatedDeltaStates = (
  c: { readonly nLayers: number; readonly fullLayers: readonly number[] },
  experts: (layer: number) => number,
): readonly string[] => [
  ...range(c.nLayers).flatMap((l) =>
    layerStates(`decoder.layers.${l}`, {
      attention: c.fullLayers.includes(l) ? "heads" : "delta",
      experts: experts(l),
    }),
  ),
  "decoder.final_layernorm._extra_state/shard_0_1",
  ...furtherStates(1, { attention: "heads", experts: experts(c.nLayers) }),
];

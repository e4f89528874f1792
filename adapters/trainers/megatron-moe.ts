// Layers with experts, and latent attention, in Megatron-Core's checkpoints. Sequential and grouped experts, whatever their
// modules are called, are saved as `experts.experts`, stacked over all ranks of EP; `singleton_local_shards` saves each alone.
// Norms before experts and of latents have one name in Transformer Engine's specs and another in the local ones.
// Axes: e experts, d model, s ffn of the shared experts; those of latent attention as in common/deepseek-table.ts.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/transformer/moe/{experts,router,shared_experts}.py
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/transformer/multi_latent_attention.py
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/transformer/multi_token_prediction.py
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/models/gpt/{gpt_layer_specs,moe_module_specs}.py
import {
  critical,
  type DropRule,
  drop,
  inCanonicalOrder,
  inOrder,
  type MapRule,
  map,
  type Rule,
  rename,
  type TieRule,
  together,
} from "../../src/table/rule.ts";
import { EXPERT_BIAS, ROUTER } from "../common/critical.ts";
import { RUN_TIME } from "../common/stacked-experts.ts";
import { type FurtherConfig, ofMtp, repeatedByMtp } from "./further-tokens.ts";
import { type Block, gatedMlp, type Layer, type LayerRules, layers, preMlpNorm, singleLayers } from "./megatron.ts";

/** Before experts. The local spec saves it as if it were fused into a linear_fc1, which experts do not have. */
export const preExpertsNorm = (layer: Layer, hf = "post_attention_layernorm.weight"): (MapRule | TieRule)[] => [
  layer.row("pre_mlp_layernorm.weight", hf, "d"),
  layer.also("mlp.linear_fc1.layer_norm_weight", "pre_mlp_layernorm.weight"),
];

export const router = (layer: Layer, hf = "mlp.gate.weight"): MapRule =>
  critical(ROUTER, layer.row("mlp.router.weight", hf, "e d"));

/** `moe_router_enable_expert_bias`; a buffer that upstream keeps in F32. */
export const expertBias = (layer: Layer, hf = "mlp.gate.e_score_correction_bias"): MapRule =>
  critical(EXPERT_BIAS, layer.row("mlp.router.expert_bias", hf, "e"));

/** The same where Hugging Face has no place for it: it has to be zeros, or waived. */
export const lostExpertBias = (layer: Layer): DropRule =>
  critical(
    EXPERT_BIAS,
    drop("native", layer.key("mlp.router.expert_bias"), "load-balancing bias, which HF has no place for", {
      dims: layer.dims("e"),
      equals: 0,
    }),
  );

const OWN = "mlp.experts.experts";

/** How HF's files name the experts of a layer, and the projections of one. */
interface ExpertNames {
  readonly files: string;
  readonly gate: string;
  readonly up: string;
  readonly down: string;
}

const PROJECTIONS: ExpertNames = { files: "mlp.experts", gate: "gate_proj", up: "up_proj", down: "down_proj" };

/** As the Hub's files mostly have experts, and as transformers 5 holds them. Axes: e experts, g ffn of an expert. */
export function experts(layer: Layer, names: ExpertNames = PROJECTIONS): MapRule[] {
  const { each, stacked } = expertForms(layer, names);
  return inOrder(RUN_TIME, each, stacked);
}

/** Experts where HF's files have each alone, and where they have them stacked. `names` are those of an expert alone. */
export function expertForms(
  layer: Layer,
  names: ExpertNames = PROJECTIONS,
): Readonly<Record<"each" | "stacked", MapRule[]>> {
  const one = (name: "gate" | "up" | "down") => layer.hf(`${names.files}.{e}.${names[name]}.weight`);
  const joined = { [layer.hf("mlp.experts.gate_up_proj")]: "e (gate: g | up: g) d" };
  const down = { [layer.hf("mlp.experts.down_proj")]: "e d g" };
  if (layer.isApart) {
    const [gate, up] = [`${OWN}.{e}.linear_fc1.weight_w`, `${OWN}.{e}.linear_fc1.weight_v`];
    const fc2 = layer.term(`${OWN}.{e}.linear_fc2.weight`, "d g");
    return {
      each: [
        map("rename", layer.term(gate, "g d"), { [one("gate")]: "g d" }),
        map("rename", layer.term(up, "g d"), { [one("up")]: "g d" }),
        map("rename", fc2, { [one("down")]: "d g" }),
      ],
      stacked: [
        map("gateUp", { ...layer.term(gate, "gate: g d"), ...layer.term(up, "up: g d") }, joined),
        map("stackExperts", fc2, down),
      ],
    };
  }
  const fc1 = layer.term(`${OWN}.linear_fc1.weight`, "e (gate: g | up: g) d");
  const fc2 = layer.term(`${OWN}.linear_fc2.weight`, "e d g");
  return {
    each: [
      map("gateUp", fc1, { [one("gate")]: "gate: g d", [one("up")]: "up: g d" }),
      map("stackExperts", fc2, { [one("down")]: "d g" }),
    ],
    stacked: [map("rename", fc1, joined), map("rename", fc2, down)],
  };
}

/** `moe_shared_expert_intermediate_size`: one MLP beside the experts, of `f` channels. */
export const sharedExperts = (layer: Layer, hf = "mlp.shared_experts", f = "s"): MapRule[] =>
  gatedMlp(layer, "mlp.shared_experts", hf, f);

/** MLASelfAttention, its norms and the one before it. `hasQueryLatent`: `q_lora_rank` is given. */
// biome-ignore format: a table
export function latentAttention(layer: Layer, hasQueryLatent: boolean): (MapRule | TieRule)[] {
  const own = "self_attention";
  return [
    layer.row("input_layernorm.weight",                    "input_layernorm.weight",              "d"),
    ...(hasQueryLatent
      ? [
          layer.row(`${own}.linear_q_down_proj.weight`,    "self_attn.q_a_proj.weight",           "c d"),
          layer.row(`${own}.linear_q_up_proj.layer_norm_weight`, "self_attn.q_a_layernorm.weight", "c"),
          layer.also(`${own}.q_layernorm.weight`, `${own}.linear_q_up_proj.layer_norm_weight`),
          layer.row(`${own}.linear_q_up_proj.weight`,      "self_attn.q_b_proj.weight",           "(n Q) c"),
        ]
      : [layer.row(`${own}.linear_q_proj.weight`,          "self_attn.q_proj.weight",             "(n Q) d")]),
    layer.row(`${own}.linear_kv_down_proj.weight`,         "self_attn.kv_a_proj_with_mqa.weight", "A d"),
    layer.row(`${own}.linear_kv_up_proj.layer_norm_weight`, "self_attn.kv_a_layernorm.weight",    "z"),
    layer.also(`${own}.kv_layernorm.weight`, `${own}.linear_kv_up_proj.layer_norm_weight`),
    layer.row(`${own}.linear_kv_up_proj.weight`,           "self_attn.kv_b_proj.weight",          "(n B) z"),
    layer.row(`${own}.linear_proj.weight`,                 "self_attn.o_proj.weight",             "d (n V)"),
  ];
}

/** Before what follows latent attention: there the local spec leaves norms under the names of their modules. */
export const normAfterLatents = (layer: Layer, beforeExperts: boolean): (MapRule | TieRule)[] => {
  const hf = "post_attention_layernorm.weight";
  if (beforeExperts) return [layer.row("pre_mlp_layernorm.weight", hf, "d")];
  const { spellings: _, ...fused } = preMlpNorm(layer).native[0]!;
  return [
    { ...preMlpNorm(layer, hf), native: [fused] },
    layer.also("pre_mlp_layernorm.weight", "mlp.linear_fc1.layer_norm_weight"),
  ];
};

/** MultiTokenPredictionLayer: what it has beside a layer of the decoder. Axes: m its layers, x two times d. */
export const furtherTokens = (hf: string): MapRule[] => [
  rename<string, string>("mtp.layers.{m}.enorm.weight", `${hf}.enorm.weight`, "d"),
  rename<string, string>("mtp.layers.{m}.hnorm.weight", `${hf}.hnorm.weight`, "d"),
  rename<string, string>("mtp.layers.{m}.eh_proj.weight", `${hf}.eh_proj.weight`, "d x"),
  rename<string, string>("mtp.layers.{m}.final_layernorm.weight", `${hf}.shared_head.norm.weight`, "d"),
];

/** Its layer, where HF numbers these on from the last of the decoder. */
export const FURTHER: Partial<Block> = {
  native: "mtp.layers",
  inner: "transformer_layer",
  axis: "m",
  hfIndex: "m+L",
};

const ATTENTION = {
  heads: ["core_attention", "linear_proj", "linear_qkv", "q_layernorm", "k_layernorm"],
  latent: [
    ...["core_attention", "linear_proj", "linear_q_proj", "linear_q_down_proj", "linear_q_up_proj"],
    ...["linear_kv_down_proj", "linear_kv_up_proj", "q_layernorm", "kv_layernorm"],
  ],
  delta: ["in_proj", "out_norm", "out_proj"],
};
const MIXTURE = ["mlp.shared_experts.linear_fc1", "mlp.shared_experts.linear_fc2"];
const DENSE = ["mlp.linear_fc1", "mlp.linear_fc2"];

interface LayerStates {
  readonly attention: keyof typeof ATTENTION;
  /** 0 in a layer without any. */
  readonly experts: number;
}

const modulesOf = ({ attention, experts }: LayerStates): readonly string[] => [
  "input_layernorm",
  ...ATTENTION[attention].map((name) => `self_attention.${name}`),
  "pre_mlp_layernorm",
  ...(experts > 0 ? MIXTURE : DENSE),
];

const expertStates = (layer: string, experts: number, shard: (e: number) => string): string[] =>
  Array.from({ length: experts }, (_, e) => e).flatMap((e) =>
    ["linear_fc1", "linear_fc2"].map((name) => `${layer}.${OWN}.${name}._extra_state/${shard(e)}`),
  );

/** What modules of one layer, local ones or Transformer Engine's, ask for in loading; nothing is in it without FP8. */
export const layerStates = (layer: string, kind: LayerStates): readonly string[] => [
  ...modulesOf(kind).map((name) => `${layer}.${name}._extra_state/shard_0_1`),
  ...expertStates(layer, kind.experts, (e) => `shard_${e}_${kind.experts}`),
];

/** The same of stacked layers. */
const stackStates = (layers: number, kind: LayerStates): readonly string[] =>
  Array.from({ length: layers }, (_, l) => l).flatMap((l) => [
    ...modulesOf(kind).map((name) => `decoder.layers.${name}._extra_state/shard_${l}_${layers}`),
    ...expertStates("decoder.layers", kind.experts, (e) => `shard_${l}.${e}_${layers}.${kind.experts}`),
  ]);

/** Of a decoder whose layers are of one kind or of two, and of the norm behind it. */
export function decoderStates(layers: number, dense: readonly number[], kind: LayerStates): readonly string[] {
  const own = Array.from({ length: layers }, (_, l) => l);
  const states = own.flatMap((l) =>
    layerStates(`decoder.layers.${l}`, dense.includes(l) ? { ...kind, experts: 0 } : kind),
  );
  return [
    ...(dense.length === 0 ? stackStates(layers, kind) : states),
    "decoder.final_layernorm._extra_state/shard_0_1",
  ];
}

/** Of layers that predict further tokens. */
export const furtherStates = (layers: number, kind: LayerStates): readonly string[] =>
  Array.from({ length: layers }, (_, m) => `mtp.layers.${m}`).flatMap((layer) => [
    ...["enorm", "hnorm", "eh_proj", "final_layernorm"].map((name) => `${layer}.${name}._extra_state/shard_0_1`),
    ...layerStates(`${layer}.transformer_layer`, kind),
  ]);

interface MixedLayers {
  readonly attention: LayerRules;
  /** The norm before a dense MLP. */
  readonly denseNorm?: LayerRules;
  readonly mixture: LayerRules;
}

/** Layers of experts, between or behind dense ones where the model has any: these are saved one by one. */
export const mixedLayers = (
  hasDense: boolean,
  { attention, denseNorm = (layer) => [preMlpNorm(layer)], mixture }: MixedLayers,
): Rule[] =>
  hasDense
    ? layers(
        (layer) => [
          ...attention(layer),
          ...denseNorm(layer.over("dense")),
          ...gatedMlp(layer.over("dense"), "mlp", "mlp", "f"),
          ...mixture(layer.over("moe")),
        ],
        { unlike: true },
      )
    : layers((layer) => [...attention(layer), ...mixture(layer)]);

/** Layers that predict further tokens, each present or absent as a whole. */
export function furtherLayers(c: FurtherConfig, decoder: LayerRules): Rule[] {
  const rules: LayerRules = (layer) => {
    const all = decoder(layer);
    const tensors = all.filter((rule): rule is MapRule => rule.kind === "map");
    return [
      ofMtp(c, together("mtpLayer", [...furtherTokens("model.layers.{m+L}"), ...inCanonicalOrder(tensors)])),
      ...all.filter((rule) => rule.kind === "tie"),
    ];
  };
  return [...singleLayers(rules, FURTHER), ...repeatedByMtp(c)];
}

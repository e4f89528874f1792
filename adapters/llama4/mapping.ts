// Llama 4: dense layers and layers with experts between them; adjacent channels are rotated together on both sides.
// Axes: l layers, dense and moe the layers of each kind, v vocabulary, d model, f ffn, g ffn of an expert, e experts,
// n query heads, k key/value heads, r = n/k query heads a key head, H channels of a head.
//   pytorch/torchtitan@43e52fd017ce:torchtitan/models/llama4/state_dict_adapter.py
//   pytorch/torchtitan@v0.2.2:torchtitan/models/llama4/model/state_dict_adapter.py
//   huggingface/transformers@v5.23.0:src/transformers/models/llama4/modeling_llama4.py
import { critical, drop, map, optionalPrefix, type Rule, refuse, rename, split, tie } from "../../src/table/rule.ts";
import { EXPERT_BIAS, ROUTER } from "../common/critical.ts";
import type { Spelling } from "../trainers/torchtitan.ts";
import { type Llama4Config, layers } from "./config.ts";

export const llama4Axes = (c: Llama4Config) => ({
  l: c.nLayers,
  dense: layers(c.nLayers).filter((layer) => !c.moeLayers.includes(layer)),
  moe: c.moeLayers,
  v: c.vocabSize,
  d: c.dim,
  f: c.ffnDim,
  g: c.expertDim,
  e: c.nExperts,
  n: c.nHeads,
  k: c.nKvHeads,
  r: c.nHeads / c.nKvHeads,
  H: c.headDim,
});

// biome-ignore format: a table
export function llama4Rules(c: Llama4Config, spelling: Spelling): Rule[] {
  const text = c.sees ? "language_model." : "";
  const hf = `${text}model.layers.{l}` as const;
  const { head } = spelling;
  return [
    // native                                     Hugging Face                                   dims
    rename("tok_embeddings.weight",               `${text}model.embed_tokens.weight`,            "v d"),
    rename("layers.{l}.attention_norm.weight",    `${hf}.input_layernorm.weight`,                "d"),
    ...qkv(spelling, `${hf}.self_attn`, "weight", " d"),
    ...(c.attentionBias ? qkv(spelling, `${hf}.self_attn`, "bias", "") : []),
    rename("layers.{l}.attention.wo.weight",      `${hf}.self_attn.o_proj.weight`,               "d (n H)"),
    ...(c.attentionBias
      ? [rename("layers.{l}.attention.wo.bias",   `${hf}.self_attn.o_proj.bias`,                 "d")]
      : []),
    rename("layers.{l}.ffn_norm.weight",          `${hf}.post_attention_layernorm.weight`,       "d"),
    ...(c.moeLayers.length < c.nLayers ? feedForward(`${text}model.layers.{dense}.feed_forward`) : []),
    ...(c.moeLayers.length > 0 ? experts(spelling, `${text}model.layers.{moe}.feed_forward`) : []),
    rename("norm.weight",                         `${text}model.norm.weight`,                    "d"),
    ...(c.tied
      ? [
          tie("native", head, "tok_embeddings.weight", "tied embeddings", true),
          tie("hf", `${text}lm_head.weight`, `${text}model.embed_tokens.weight`, "tied embeddings", false),
        ]
      : [rename(head,                             `${text}lm_head.weight`,                       "v d")]),
    optionalPrefix("hf", "language_model."),
    refuse("hf", "vision_model.{key}",          NOT_NATIVE, c.sees ? "vision tower" : undefined),
    refuse("hf", "multi_modal_projector.{key}", NOT_NATIVE, c.sees ? "vision tower" : undefined),
  ];
}

const NOT_NATIVE = {
  reason: "belongs to the vision tower, which torchtitan's Llama 4 does not have",
  help: "to convert the text model alone, --allow-drop 'vision_model.*' --allow-drop 'multi_modal_projector.*'",
};

type InDenseLayers = `${string}model.layers.{dense}.feed_forward`;

const feedForward = (hf: InDenseLayers): Rule[] => [
  rename("layers.{dense}.feed_forward.w1.weight", `${hf}.gate_proj.weight`, "f d"),
  rename("layers.{dense}.feed_forward.w2.weight", `${hf}.down_proj.weight`, "d f"),
  rename("layers.{dense}.feed_forward.w3.weight", `${hf}.up_proj.weight`, "f d"),
];

// biome-ignore format: a table
function experts({ expert, expertBias }: Spelling, hf: `${string}model.layers.{moe}.feed_forward`): Rule[] {
  const native = "layers.{moe}.moe";
  return [
    critical(ROUTER,
      rename(`${native}.router.gate.weight`,      `${hf}.router.weight`,                         "e d")),
    map("gateUp",
      { [`${native}.${expert("w1", "EFD")}`]: "gate: e g d", [`${native}.${expert("w3", "EFD")}`]: "up: e g d" },
      { [`${hf}.experts.gate_up_proj`]: "e d (gate: g | up: g)" }),
    map("down",
      { [`${native}.${expert("w2", "EDF")}`]: "e d g" },
      { [`${hf}.experts.down_proj`]: "e g d" }),
    rename(`${native}.shared_experts.w1.weight`,  `${hf}.shared_expert.gate_proj.weight`,        "g d"),
    rename(`${native}.shared_experts.w2.weight`,  `${hf}.shared_expert.down_proj.weight`,        "d g"),
    rename(`${native}.shared_experts.w3.weight`,  `${hf}.shared_expert.up_proj.weight`,          "g d"),
    critical(EXPERT_BIAS,
      drop("native", `${native}.${expertBias}`, "load-balancing bias, which HF has no place for", { dims: "e", recreate: 0 })),
  ];
}

/** Fused, rows lie by key head: its r query heads, the key head, its value head. */
function qkv(
  spelling: Spelling,
  hf: `${string}model.layers.{l}.self_attn`,
  kind: "weight" | "bias",
  d: "" | " d",
): Rule[] {
  const native: string = `layers.{l}.${spelling.qkv}`;
  const of = (name: string) => `${hf}.${name}_proj.${kind}`;
  const { q, k, v } = { q: of("q"), k: of("k"), v: of("v") };
  if (spelling.fused) return [split(`${native}.wqkv.${kind}`, { q, k, v }, `(k (q: r H | k: H | v: H))${d}`)];
  return [
    rename<string, string>(`${native}.wq.${kind}`, q, `(n H)${d}`),
    rename<string, string>(`${native}.wk.${kind}`, k, `(k H)${d}`),
    rename<string, string>(`${native}.wv.${kind}`, v, `(k H)${d}`),
  ];
}

// Qwen3-VL: a Qwen3 decoder, dense or with experts, and a vision tower with DeepStack mergers; channels in the same order
// on both sides. Axes of the text: l layers, dense and moe the layers of each kind, v vocabulary, d model, f ffn, g ffn of
// an expert, e experts, n query heads, k key/value heads, r = n/k query heads a key head, H channels of a head. Of the
// tower: b blocks, m DeepStack mergers, u width, i ffn, a heads, B channels of a head, c colours, t frames, p and q rows and
// columns of a patch, x positions, s patches a token, z = s·u, o width of what it hands on.
//   pytorch/torchtitan@adf340d3f9fa:torchtitan/models/qwen3_vl/state_dict_adapter.py
//   pytorch/torchtitan@12979c663:torchtitan/models/qwen3_vl/state_dict_adapter.py
//   pytorch/torchtitan@eb518a1d8:torchtitan/models/qwen3_vl/state_dict_adapter.py for wqkv
//   huggingface/transformers@v5.23.0:src/transformers/models/qwen3_vl_moe/modeling_qwen3_vl_moe.py
import {
  critical,
  drop,
  type MapRule,
  map,
  type Rule,
  rename,
  reorder,
  split,
  tie,
  tower,
} from "../../src/table/rule.ts";
import { EXPERT_BIAS, ROUTER } from "../common/critical.ts";
import type { Spelling } from "../trainers/torchtitan.ts";
import { type Qwen3VlConfig, type Qwen3VlExperts, range } from "./config.ts";

export const qwen3VlAxes = (c: Qwen3VlConfig) => ({
  l: c.nLayers,
  v: c.vocabSize,
  d: c.dim,
  f: c.ffnDim,
  n: c.nHeads,
  k: c.nKvHeads,
  r: c.nHeads / c.nKvHeads,
  H: c.headDim,
  ...(c.moe === null ? { dense: range(c.nLayers) } : expertAxes(c.moe, c.nLayers)),
  b: c.vision.nBlocks,
  m: c.vision.deepstackBlocks.length,
  u: c.vision.dim,
  i: c.vision.ffnDim,
  a: c.vision.nHeads,
  B: c.vision.dim / c.vision.nHeads,
  c: c.vision.channels,
  t: c.vision.patchFrames,
  p: c.vision.patchSize,
  q: c.vision.patchSize,
  x: c.vision.nPositions,
  s: c.vision.mergeSize ** 2,
  z: c.vision.mergeSize ** 2 * c.vision.dim,
  o: c.vision.outDim,
});

const expertAxes = (moe: Qwen3VlExperts, nLayers: number) => ({
  dense: moe.denseLayers,
  moe: range(nLayers).filter((layer) => !moe.denseLayers.includes(layer)),
  e: moe.nExperts,
  g: moe.expertDim,
});

// biome-ignore format: a table
export function qwen3VlRules(c: Qwen3VlConfig, spelling: Spelling): Rule[] {
  const { head } = spelling;
  const attention = `layers.{l}.${spelling.qkv}`;
  const qkv = spelling.fused ? fusedQkv : splitQkv;
  const text = "model.language_model";
  const nDense = c.moe === null ? c.nLayers : c.moe.denseLayers.length;
  return [
    // native                                    Hugging Face                                            dims
    rename("tok_embeddings.weight",              `${text}.embed_tokens.weight`,                          "v d"),
    rename("layers.{l}.attention_norm.weight",   `${text}.layers.{l}.input_layernorm.weight`,            "d"),
    ...qkv(attention, "weight", " d"),
    ...(c.attentionBias ? qkv(attention, "bias", "") : []),
    rename("layers.{l}.attention.wo.weight",     `${text}.layers.{l}.self_attn.o_proj.weight`,           "d (n H)"),
    ...(c.attentionBias
      ? [rename("layers.{l}.attention.wo.bias",  `${text}.layers.{l}.self_attn.o_proj.bias`,             "d")]
      : []),
    rename("layers.{l}.attention.q_norm.weight", `${text}.layers.{l}.self_attn.q_norm.weight`,           "H"),
    rename("layers.{l}.attention.k_norm.weight", `${text}.layers.{l}.self_attn.k_norm.weight`,           "H"),
    rename("layers.{l}.ffn_norm.weight",         `${text}.layers.{l}.post_attention_layernorm.weight`,   "d"),
    ...(nDense > 0 ? feedForward : []),
    ...(nDense < c.nLayers ? experts(spelling) : []),
    rename("norm.weight",                        `${text}.norm.weight`,                                  "d"),
    ...(c.tied
      ? [
          tie("native", head, "tok_embeddings.weight", "tied embeddings", true),
          tie("hf", "lm_head.weight", `${text}.embed_tokens.weight`, "tied embeddings", false),
        ]
      : [rename(head,                            "lm_head.weight",                                       "v d")]),
    ...tower("vision tower", visionTower),
  ];
}

// biome-ignore format: a table
const feedForward: readonly Rule[] = [
  rename("layers.{dense}.feed_forward.w1.weight", "model.language_model.layers.{dense}.mlp.gate_proj.weight", "f d"),
  rename("layers.{dense}.feed_forward.w2.weight", "model.language_model.layers.{dense}.mlp.down_proj.weight", "d f"),
  rename("layers.{dense}.feed_forward.w3.weight", "model.language_model.layers.{dense}.mlp.up_proj.weight",   "f d"),
];

/**
 * The Hub's files hold each expert [in, out], files that transformers 5 saved [out, in]. transformers' Transpose has
 * check_dims, so it takes whichever order fits. That is wrong for the Hub's `gate_up_proj` where 2g = d, and for its
 * `down_proj` where g = d. Here the other one of the two tensors decides.
 *   huggingface/transformers@v5.23.0:src/transformers/conversion_mapping.py#L1361
 *   https://github.com/huggingface/transformers/pull/43201 has the shapes of Qwen3-VL-30B-A3B on the Hub.
 */
// biome-ignore format: a table
function experts({ expert, expertBias }: Spelling): Rule[] {
  const native = "layers.{moe}.moe";
  const hf = "model.language_model.layers.{moe}.mlp";
  return [
    critical(ROUTER, rename(`${native}.router.gate.weight`, `${hf}.gate.weight`, "e d")),
    map("gateUp",
      { [`${native}.${expert("w1", "EFD")}`]: "gate: e g d", [`${native}.${expert("w3", "EFD")}`]: "up: e g d" },
      { [`${hf}.experts.gate_up_proj`]: { dims: "e d (gate: g | up: g)", orders: { "transformers-5": "e (gate: g | up: g) d" } } }),
    map("down",
      { [`${native}.${expert("w2", "EDF")}`]: "e d g" },
      { [`${hf}.experts.down_proj`]: { dims: "e g d", orders: { "transformers-5": "e d g" } } }),
    critical(EXPERT_BIAS,
      drop("native", `${native}.${expertBias}`, "load-balancing bias, which HF has no place for", { dims: "e", recreate: 0 })),
  ];
}

function splitQkv(attention: string, kind: "weight" | "bias", d: string): Rule[] {
  const hf: string = "model.language_model.layers.{l}.self_attn";
  return [
    rename(`${attention}.wq.${kind}`, `${hf}.q_proj.${kind}`, `(n H)${d}`),
    rename(`${attention}.wk.${kind}`, `${hf}.k_proj.${kind}`, `(k H)${d}`),
    rename(`${attention}.wv.${kind}`, `${hf}.v_proj.${kind}`, `(k H)${d}`),
  ];
}

/** Rows lie by key head: its r query heads, the key head, its value head. */
function fusedQkv(attention: string, kind: "weight" | "bias", d: string): Rule[] {
  const hf: string = "model.language_model.layers.{l}.self_attn";
  const parts = { q: `${hf}.q_proj.${kind}`, k: `${hf}.k_proj.${kind}`, v: `${hf}.v_proj.${kind}` };
  return [split(`${attention}.wqkv.${kind}`, parts, `(k (q: r H | k: H | v: H))${d}`)];
}

/** A merger joins the patches of a token. The last merger norms before it joins, DeepStack's mergers after. */
// biome-ignore format: a table
const visionTower: readonly MapRule[] = [
  reorder("vision_encoder.patch_embed.proj.weight",  "model.visual.patch_embed.proj.weight", "u (c t p q)", "u c t p q"),
  rename("vision_encoder.patch_embed.proj.bias",     "model.visual.patch_embed.proj.bias",            "u"),
  rename("vision_encoder.pos_embed",                 "model.visual.pos_embed.weight",                 "x u"),
  ...both("layers.{b}.norm1",                        "blocks.{b}.norm1",                              "u"),
  ...both("layers.{b}.norm2",                        "blocks.{b}.norm2",                              "u"),
  ...both("layers.{b}.attn.qkv",                     "blocks.{b}.attn.qkv",                           "(q: a B | k: a B | v: a B)", " u"),
  ...both("layers.{b}.attn.proj",                    "blocks.{b}.attn.proj",                          "u", " (a B)"),
  ...both("layers.{b}.mlp.linear_fc1",               "blocks.{b}.mlp.linear_fc1",                     "i", " u"),
  ...both("layers.{b}.mlp.linear_fc2",               "blocks.{b}.mlp.linear_fc2",                     "u", " i"),
  ...both("merger.norm",                             "merger.norm",                                   "u"),
  ...both("merger.linear_fc1",                       "merger.linear_fc1",                             "z", " (s u)"),
  ...both("merger.linear_fc2",                       "merger.linear_fc2",                             "o", " z"),
  ...both("deepstack_merger_list.{m}.norm",          "deepstack_merger_list.{m}.norm",                "(s u)"),
  ...both("deepstack_merger_list.{m}.linear_fc1",    "deepstack_merger_list.{m}.linear_fc1",          "z", " (s u)"),
  ...both("deepstack_merger_list.{m}.linear_fc2",    "deepstack_merger_list.{m}.linear_fc2",          "o", " z"),
];

/** Weight (of dims `out` and `rest`) and bias of a module of the tower. */
function both(native: string, hf: string, out: string, rest = ""): MapRule[] {
  const visual: string = "model.visual";
  return [
    rename(`vision_encoder.${native}.weight`, `${visual}.${hf}.weight`, `${out}${rest}`),
    rename(`vision_encoder.${native}.bias`, `${visual}.${hf}.bias`, out),
  ];
}

// Muse Glimmer: a decoder with gated attention and norms on both ends of a block, and a vision tower; torchtitan rotates
// adjacent channels in both, HF halves. Axes of the text: l layers, v vocabulary, d model, f ffn, n query heads, k key/value
// heads, H channels of a head, h = H/2 rotary pairs. Of the tower: b blocks, u width, i ffn, a heads, B channels of a head,
// c = B/2 pairs, m values of a patch, x positions, j patches a token, g and G width of the adapter, within and at its end.
//   pytorch/torchtitan@v0.3.0:torchtitan/models/muse_glimmer/state_dict_adapter.py
//   huggingface/transformers@v5.23.0:src/transformers/models/muse_glimmer/modeling_muse_glimmer.py
import { type MapRule, permuteRope, type Rule, rename, reorder, tie, tower } from "../../src/table/rule.ts";
import type { MuseGlimmerConfig, MuseGlimmerVision } from "./config.ts";

/** A patch has the colours of an image. */
export const COLOURS = 3;

export const museGlimmerAxes = (c: MuseGlimmerConfig) => ({
  l: c.nLayers,
  v: c.vocabSize,
  d: c.dim,
  f: c.ffnDim,
  n: c.nHeads,
  k: c.nKvHeads,
  H: c.headDim,
  h: c.headDim / 2,
  ...(c.vision === null ? {} : visionAxes(c.vision)),
});

const visionAxes = (vision: MuseGlimmerVision) => ({
  b: vision.nBlocks,
  u: vision.dim,
  i: vision.ffnDim,
  a: vision.nHeads,
  B: vision.dim / vision.nHeads,
  c: vision.dim / vision.nHeads / 2,
  m: vision.patchFrames * COLOURS * vision.patchSize ** 2,
  x: vision.positionRows * vision.positionColumns,
  j: vision.mergeSize ** 2,
  g: vision.adapterDim,
  G: vision.adapterDim,
});

// biome-ignore format: a table
export function museGlimmerRules(c: MuseGlimmerConfig): Rule[] {
  const text = "model.language_model";
  const layer = `${text}.layers.{l}` as const;
  const qkv = "layers.{l}.attention.qkv_linear";
  return [
    // native                                        Hugging Face                                      dims
    rename("tok_embeddings.embedding.weight",        `${text}.embed_tokens.weight`,                    "v d"),
    rename("layers.{l}.attention_norm.weight",       `${layer}.input_layernorm.weight`,                "d"),
    permuteRope(`${qkv}.wq.weight`,                  `${layer}.self_attn.q_proj.weight`,               "(n h two) d"),
    permuteRope(`${qkv}.wk.weight`,                  `${layer}.self_attn.k_proj.weight`,               "(k h two) d"),
    rename(`${qkv}.wv.weight`,                       `${layer}.self_attn.v_proj.weight`,               "(k H) d"),
    rename("layers.{l}.attention.o_gate.weight",     `${layer}.self_attn.gate_proj.weight`,            "(n H) d"),
    rename("layers.{l}.attention.wo.weight",         `${layer}.self_attn.o_proj.weight`,               "d (n H)"),
    rename("layers.{l}.post_attention_norm.weight",  `${layer}.post_attention_layernorm.weight`,       "d"),
    rename("layers.{l}.ffn_norm.weight",             `${layer}.pre_feedforward_layernorm.weight`,      "d"),
    rename("layers.{l}.feed_forward.w1.weight",      `${layer}.mlp.gate_proj.weight`,                  "f d"),
    rename("layers.{l}.feed_forward.w2.weight",      `${layer}.mlp.down_proj.weight`,                  "d f"),
    rename("layers.{l}.feed_forward.w3.weight",      `${layer}.mlp.up_proj.weight`,                    "f d"),
    rename("layers.{l}.post_ffn_norm.weight",        `${layer}.post_feedforward_layernorm.weight`,     "d"),
    rename("norm.weight",                            `${text}.norm.weight`,                            "d"),
    ...(c.tied
      ? [
          tie("native", "lm_head.weight", "tok_embeddings.embedding.weight", "tied embeddings", true),
          tie("hf", "lm_head.weight", `${text}.embed_tokens.weight`, "tied embeddings", false),
        ]
      : [rename("lm_head.weight",                    "lm_head.weight",                                 "v d")]),
    ...(c.vision === null ? [] : tower("vision tower", visionTower)),
  ];
}

// biome-ignore format: a table
const visionTower: readonly MapRule[] = [
  rename("vision_encoder.conv1_linear.weight",       "model.vision_tower.patch_embedder.patch_embedding.weight",          "u m"),
  rename("vision_encoder.positional_embedding_vlm",  "model.vision_tower.patch_embedder.position_embedding_table.weight", "x u"),
  ...both("ln_pre",                      "ln_pre",                     "u"),
  ...both("layers.{b}.norm1",            "layers.{b}.norm1",           "u"),
  ...rotated("layers.{b}.attn.wq",       "layers.{b}.attn.q_proj"),
  ...rotated("layers.{b}.attn.wk",       "layers.{b}.attn.k_proj"),
  ...both("layers.{b}.attn.wv",          "layers.{b}.attn.v_proj",     "(a B)", " u"),
  ...both("layers.{b}.attn.proj",        "layers.{b}.attn.proj",       "u", " (a B)"),
  ...both("layers.{b}.norm2",            "layers.{b}.norm2",           "u"),
  ...both("layers.{b}.mlp.linear_fc1",   "layers.{b}.mlp.fc1",         "i", " u"),
  ...both("layers.{b}.mlp.linear_fc2",   "layers.{b}.mlp.fc2",         "u", " i"),
  ...both("ln_post",                     "ln_post",                    "u"),
  rename("vision_adapter.c_fc.weight",   "model.vision_adapter.fc1.weight", "g (u j)"),
  rename("vision_adapter.c_proj.weight", "model.vision_adapter.fc2.weight", "G g"),
  rename("vision_projection.weight",     "model.vision_projection.weight",  "d G"),
];

/** Weight and bias of queries or keys of the tower: as permuteRope, by pairs of the tower's own heads. */
function rotated(native: string, hf: string): MapRule[] {
  return [
    reorder<string, string>(
      `vision_encoder.${native}.weight`,
      `model.vision_tower.${hf}.weight`,
      "(a c two) u",
      "(a two c) u",
    ),
    reorder<string, string>(`vision_encoder.${native}.bias`, `model.vision_tower.${hf}.bias`, "(a c two)", "(a two c)"),
  ];
}

/** Weight (of dims `out` and `rest`) and bias of a module of the tower. */
function both(native: string, hf: string, out: string, rest = ""): MapRule[] {
  return [
    rename<string, string>(`vision_encoder.${native}.weight`, `model.vision_tower.${hf}.weight`, `${out}${rest}`),
    rename<string, string>(`vision_encoder.${native}.bias`, `model.vision_tower.${hf}.bias`, out),
  ];
}

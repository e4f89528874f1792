// Qwen3.5: gated delta nets with full attention between them, dense or with experts, and a vision tower. Channels stand in
// the same order on both sides: halves are rotated on both, and wq holds each head's query and gate as q_proj does.
// Axes of the text: l layers, full and delta the layers of each kind, v vocabulary, d model, f ffn, g ffn of an expert,
// y ffn of the shared expert, e experts, n query heads, k key/value heads, r = n/k, H channels of a head. Of a delta net: j key
// heads, w value heads, K and V channels of each, s tokens of the convolution. Of the tower: b blocks, u width, i ffn,
// a heads, B channels of a head, c colours, t frames, p and q rows and columns of a patch, x positions, m patches a
// token, z = m·u, o width of what it hands on.
//   pytorch/torchtitan@v0.3.0:torchtitan/models/qwen3_5/state_dict_adapter.py
//   pytorch/torchtitan@fc5a72960f1e:torchtitan/models/qwen3_5/state_dict_adapter.py
//   huggingface/transformers@v5.23.0:src/transformers/models/qwen3_5_moe/modeling_qwen3_5_moe.py
import {
  concat,
  critical,
  drop,
  inOrder,
  type MapRule,
  type Rule,
  refuse,
  rename,
  reorder,
  stackExperts,
  tie,
  tower,
} from "../../src/table/rule.ts";
import { DECAY, EXPERT_BIAS, ROUTER, STATE_NORM } from "../common/critical.ts";
import { deltaAxes, range, secondAxes } from "../common/gated-delta/config.ts";
import type { Spelling } from "../trainers/torchtitan.ts";
import type { Qwen35Config, Qwen35Experts, Qwen35Vision } from "./config.ts";

export const qwen35Axes = (c: Qwen35Config) => ({
  l: c.nLayers,
  full: c.fullLayers,
  delta: range(c.nLayers).filter((layer) => !c.fullLayers.includes(layer)),
  v: c.vocabSize,
  d: c.dim,
  f: c.ffnDim,
  n: c.nHeads,
  k: c.nKvHeads,
  H: c.headDim,
  r: c.nHeads / c.nKvHeads,
  ...deltaAxes(c.delta),
  ...secondAxes(c.dim),
  ...(c.moe === null ? {} : expertAxes(c.moe)),
  ...(c.vision === null ? {} : visionAxes(c.vision)),
});

const expertAxes = (moe: Qwen35Experts) => ({ e: moe.nExperts, g: moe.expertDim, y: moe.sharedDim });

const visionAxes = (vision: Qwen35Vision) => ({
  b: vision.nBlocks,
  u: vision.dim,
  i: vision.ffnDim,
  a: vision.nHeads,
  B: vision.dim / vision.nHeads,
  c: vision.channels,
  t: vision.patchFrames,
  p: vision.patchSize,
  q: vision.patchSize,
  x: vision.nPositions,
  m: vision.mergeSize ** 2,
  z: vision.mergeSize ** 2 * vision.dim,
  o: vision.outDim,
});

/** Configs may announce it. */
export const MTP = "head that predicts a second token";

/** transformers skips these keys, too: `_keys_to_ignore_on_load_unexpected`. */
const WITHOUT_MTP = {
  reason: `belongs to the ${MTP}, which this layout has no place for`,
  help: "--allow-drop 'mtp.*' converts the model without that head; --to megatron keeps it",
};

/** Of files with a tensor for each expert. */
export const PER_EXPERT = "per expert";

export const qwen35Rules = (c: Qwen35Config, spelling: Spelling): Rule[] =>
  c.vision === null ? rulesOf(c, spelling, "model").map(alsoAsPart) : rulesOf(c, spelling, "model.language_model");

/** transformers reads and writes a text-only model under the names of the whole model. */
export const alsoAsPart = (rule: Rule): Rule => {
  if (rule.kind !== "map") return rule;
  const hf = rule.hf.map(({ spellings = [], ...term }) => ({
    ...term,
    spellings: term.key.startsWith("model.")
      ? [...spellings, term.key.replace("model.", "model.language_model.")]
      : spellings,
  }));
  return { ...rule, hf };
};

// biome-ignore format: a table
function rulesOf(c: Qwen35Config, spelling: Spelling, text: string): Rule[] {
  const layer = `${text}.layers`;
  return [
    // native                                  Hugging Face                                     dims
    rename("tok_embeddings.weight",            `${text}.embed_tokens.weight`,                   "v d"),
    rename("layers.{l}.attention_norm.weight", `${layer}.{l}.input_layernorm.weight`,           "d"),
    ...(c.fullLayers.length < c.nLayers ? deltaNet(layer) : []),
    ...(c.fullLayers.length > 0 ? attention(layer) : []),
    rename("layers.{l}.ffn_norm.weight",       `${layer}.{l}.post_attention_layernorm.weight`,  "d"),
    ...(c.moe === null ? feedForward(layer) : experts(layer, spelling)),
    rename("norm.weight",                      `${text}.norm.weight`,                           "d"),
    ...(c.tied
      ? [
          tie("native", "lm_head.weight", "tok_embeddings.weight", "tied embeddings", true),
          tie("hf", "lm_head.weight", `${text}.embed_tokens.weight`, "tied embeddings", false),
        ]
      : [rename("lm_head.weight",              "lm_head.weight",                                "v d")]),
    ...(c.vision === null ? [] : tower("vision tower", visionTower)),
    refuse("hf", "mtp.{key}", WITHOUT_MTP, c.announcesMtp ? MTP : undefined),
  ];
}

/** in_proj_qkv and conv1d hold q, k and v side by side. The convolution is depthwise: one input channel a filter. */
// biome-ignore format: a table
function deltaNet(layer: string): Rule[] {
  const native: string = "layers.{delta}.attn";
  const hf: string = `${layer}.{delta}.linear_attn`;
  const qkv = (name: string) => ({ q: `${native}.${name}_q.weight`, k: `${native}.${name}_k.weight`, v: `${native}.${name}_v.weight` });
  return [
    concat(qkv("in_proj"),                 `${hf}.in_proj_qkv.weight`, "(q: j K | k: j K | v: w V) d"),
    concat(qkv("conv"),                    `${hf}.conv1d.weight`,      "(q: j K | k: j K | v: w V) one s"),
    rename(`${native}.in_proj_z.weight`,   `${hf}.in_proj_z.weight`,   "(w V) d"),
    rename(`${native}.in_proj_a.weight`,   `${hf}.in_proj_a.weight`,   "w d"),
    rename(`${native}.in_proj_b.weight`,   `${hf}.in_proj_b.weight`,   "w d"),
    critical(DECAY,
      rename(`${native}.A_log`,            `${hf}.A_log`,              "w")),
    rename(`${native}.dt_bias`,            `${hf}.dt_bias`,            "w"),
    critical(STATE_NORM,
      rename(`${native}.norm.weight`,      `${hf}.norm.weight`,        "V")),
    rename(`${native}.out_proj.weight`,    `${hf}.out_proj.weight`,    "d (w V)"),
  ];
}

/** Per head: the query, then the gate of its output. */
// biome-ignore format: a table
function attention(layer: string): Rule[] {
  const native: string = "layers.{full}.attn";
  const hf: string = `${layer}.{full}.self_attn`;
  return [
    rename(`${native}.wq.weight`,          `${hf}.q_proj.weight`,      "(n (query: H | gate: H)) d"),
    rename(`${native}.wk.weight`,          `${hf}.k_proj.weight`,      "(k H) d"),
    rename(`${native}.wv.weight`,          `${hf}.v_proj.weight`,      "(k H) d"),
    rename(`${native}.wo.weight`,          `${hf}.o_proj.weight`,      "d (n H)"),
    rename(`${native}.q_norm.weight`,      `${hf}.q_norm.weight`,      "H"),
    rename(`${native}.k_norm.weight`,      `${hf}.k_norm.weight`,      "H"),
  ];
}

// biome-ignore format: a table
function feedForward(layer: string): Rule[] {
  const native: string = "layers.{l}.feed_forward";
  const hf: string = `${layer}.{l}.mlp`;
  return [
    rename(`${native}.w1.weight`,          `${hf}.gate_proj.weight`,   "f d"),
    rename(`${native}.w2.weight`,          `${hf}.down_proj.weight`,   "d f"),
    rename(`${native}.w3.weight`,          `${hf}.up_proj.weight`,     "f d"),
  ];
}

/**
 * torchtitan's own adapter transposes each expert, which is right for Qwen3-VL's files and wrong for these.
 * transformers 5.23.0 saves a model that it built from a config with one tensor per expert. It reads both forms.
 */
// biome-ignore format: a table
function experts(layer: string, { expert, expertBias }: Spelling): Rule[] {
  const native: string = "layers.{l}.moe";
  const w1 = `${native}.${expert("w1", "EFD")}`;
  const w2 = `${native}.${expert("w2", "EDF")}`;
  const w3 = `${native}.${expert("w3", "EFD")}`;
  const hf: string = `${layer}.{l}.mlp`;
  return [
    critical(ROUTER,
      rename(`${native}.router.gate.weight`,         `${hf}.gate.weight`,                    "e d")),
    ...inOrder(PER_EXPERT,
      [
        concat({ gate: w1, up: w3 },                 `${hf}.experts.gate_up_proj`,           "e (gate: g | up: g) d"),
        rename(w2,                                   `${hf}.experts.down_proj`,              "e d g"),
      ],
      [
        stackExperts(w1,                             `${hf}.experts.{e}.gate_proj.weight`,   "e g d"),
        stackExperts(w3,                             `${hf}.experts.{e}.up_proj.weight`,     "e g d"),
        stackExperts(w2,                             `${hf}.experts.{e}.down_proj.weight`,   "e d g"),
      ]),
    critical(EXPERT_BIAS,
      drop("native", `${native}.${expertBias}`, "load-balancing bias, which HF has no place for", { dims: "e", recreate: 0 })),
    rename(`${native}.shared_experts.w1.weight`,     `${hf}.shared_expert.gate_proj.weight`, "y d"),
    rename(`${native}.shared_experts.w2.weight`,     `${hf}.shared_expert.down_proj.weight`, "d y"),
    rename(`${native}.shared_experts.w3.weight`,     `${hf}.shared_expert.up_proj.weight`,   "y d"),
    rename(`${native}.shared_experts.gate.weight`,   `${hf}.shared_expert_gate.weight`,      "one d"),
  ];
}

/** Linear over a patch's values ↔ Conv3d over the patch; wq, wk and wv ↔ qkv. The merger joins the patches of a token. */
// biome-ignore format: a table
const visionTower: readonly MapRule[] = [
  reorder("vision_encoder.patch_embed.weight",  "model.visual.patch_embed.proj.weight", "u (c t p q)", "u c t p q"),
  rename("vision_encoder.patch_embed.bias",     "model.visual.patch_embed.proj.bias",            "u"),
  rename("vision_encoder.pos_embed",            "model.visual.pos_embed.weight",                 "x u"),
  ...both("layers.{b}.norm1",                   "blocks.{b}.norm1",                              "u"),
  ...both("layers.{b}.norm2",                   "blocks.{b}.norm2",                              "u"),
  visionQkv("weight", " u"),
  visionQkv("bias", ""),
  ...both("layers.{b}.attn.proj",               "blocks.{b}.attn.proj",                          "u", " (a B)"),
  ...both("layers.{b}.mlp.linear_fc1",          "blocks.{b}.mlp.linear_fc1",                     "i", " u"),
  ...both("layers.{b}.mlp.linear_fc2",          "blocks.{b}.mlp.linear_fc2",                     "u", " i"),
  ...both("merger.norm",                        "merger.norm",                                   "u"),
  ...both("merger.linear_fc1",                  "merger.linear_fc1",                             "z", " (m u)"),
  ...both("merger.linear_fc2",                  "merger.linear_fc2",                             "o", " z"),
];

function visionQkv(kind: "weight" | "bias", u: string): MapRule {
  const native = "vision_encoder.layers.{b}.attn";
  const parts = { q: `${native}.wq.${kind}`, k: `${native}.wk.${kind}`, v: `${native}.wv.${kind}` };
  return concat(parts, `model.visual.blocks.{b}.attn.qkv.${kind}`, `(q: a B | k: a B | v: a B)${u}`);
}

/** Weight (of dims `out` and `rest`) and bias of a module of the tower. */
function both(native: string, hf: string, out: string, rest = ""): MapRule[] {
  const visual: string = "model.visual";
  return [
    rename(`vision_encoder.${native}.weight`, `${visual}.${hf}.weight`, `${out}${rest}`),
    rename(`vision_encoder.${native}.bias`, `${visual}.${hf}.bias`, out),
  ];
}

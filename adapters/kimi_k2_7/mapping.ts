// Kimi K2.5 to K2.7 and Kimi-VL: DeepSeek-V3's table under `language_model.`, and MoonViT with its projector. The Hub and
// torchtitan rotate adjacent channels in both towers; transformers reorders the vision tower's in loading. Axes of the
// text as in deepseek-table.ts; of the tower: b blocks, u width, i ffn, a heads, C channels of a head, h pairs of them, r colours, p and w
// rows and columns of a patch, y and X rows and columns of positions, j patches a token, J = j·u.
//   pytorch/torchtitan@v0.3.0:torchtitan/models/kimi_k2_7/state_dict_adapter.py
//   huggingface/transformers@v5.23.0:src/transformers/conversion_mapping.py#L596
import {
  alsoSpelled,
  concat,
  drop,
  inOrder,
  type MapRule,
  permuteRope,
  type Rule,
  rename,
  reorder,
  tower,
} from "../../src/table/rule.ts";
import { decoderAxes, decoderRules } from "../common/deepseek-table.ts";
import { RUN_TIME } from "../common/stacked-experts.ts";
import type { Spelling } from "../trainers/torchtitan.ts";
import type { KimiConfig } from "./config.ts";

/** A patch has the colours of an image. */
export const COLOURS = 3;

export const kimiAxes = ({ text, vision }: KimiConfig) => ({
  ...decoderAxes(text),
  b: vision.nBlocks,
  u: vision.dim,
  i: vision.ffnDim,
  a: vision.nHeads,
  C: vision.dim / vision.nHeads,
  h: vision.dim / vision.nHeads / 2,
  r: COLOURS,
  p: vision.patchSize,
  w: vision.patchSize,
  y: vision.positionRows,
  X: vision.positionColumns,
  j: vision.mergeRows * vision.mergeColumns,
  J: vision.mergeRows * vision.mergeColumns * vision.dim,
});

// biome-ignore format: a table
export function kimiRules(c: KimiConfig, spelling: Spelling): Rule[] {
  return [
    ...decoderRules(c.text, spelling).map(inLanguageModel),
    drop("hf", "language_model.model.layers.{l}.self_attn.rotary_emb.inv_freq", "a buffer that every model computes anew", { dims: "?" }),
    ...tower("vision tower", [
      // native                        Hugging Face                                      dims
      patchEmbed("weight",             "u (r p w)", "u r p w"),
      patchEmbed("bias",               "u", "u"),
      rename("vision_encoder.pos_embed", "vision_tower.patch_embed.pos_emb.weight",      "y X u"),
      ...both("layers.{b}.norm1",      "vision_tower.encoder.blocks.{b}.norm0",          "u"),
      ...both("layers.{b}.norm2",      "vision_tower.encoder.blocks.{b}.norm1",          "u"),
      ...attention("weight", " u"),
      ...attention("bias", ""),
      ...both("layers.{b}.attn.proj",  "vision_tower.encoder.blocks.{b}.wo",             "u", " (a C)"),
      ...both("layers.{b}.mlp.linear_fc1", "vision_tower.encoder.blocks.{b}.mlp.fc0",    "i", " u"),
      ...both("layers.{b}.mlp.linear_fc2", "vision_tower.encoder.blocks.{b}.mlp.fc1",    "u", " i"),
      ...both("final_norm",            "vision_tower.encoder.final_layernorm",           "u"),
      ...projector(c, ["pre_norm", "pre_norm", "pre_norm", "pre_norm"],                  "u"),
      ...projector(c, ["linear_1", "proj.0", "linear_1", "in_proj"],                     "J", " (j u)"),
      ...projector(c, ["linear_2", "proj.2", "linear_2", "out_proj"],                    "d", " J"),
    ].map(alsoAtRunTime)),
  ];
}

/**
 * Keys of the text model on the Hub. Some files leave out `model.`. transformers 5 saves `blocks` instead of `layers`:
 * on saving it reverses its renaming of the tower's blocks, which renames the text model's layers too. At run time it
 * has the text model inside `model.`, and the head beside it.
 */
function inLanguageModel(rule: Rule): Rule {
  const named = (key: string) => `language_model.${key}`;
  const spelled = (key: string) => [
    ...(key.startsWith("model.layers.")
      ? ["layers.", "model.blocks."].map((start) => named(key.replace("model.layers.", start)))
      : []),
    key.replace(/^model\./, "model.language_model."),
  ];
  if (rule.kind === "tie" && rule.side === "hf")
    return { ...rule, alias: named(rule.alias), of: named(rule.of), spellings: spelled(rule.alias) };
  if (rule.kind !== "map") return rule;
  return { ...rule, hf: rule.hf.map((term) => ({ ...term, key: named(term.key), spellings: spelled(term.key) })) };
}

/** What transformers 5 calls the parts of the tower at run time; below them the Hub's names stay. */
const RUN_TIME_PARTS: readonly (readonly [hub: string, runTime: string])[] = [
  ["encoder.blocks.{b}.norm0.", "layers.{b}.norm1."],
  ["encoder.blocks.{b}.norm1.", "layers.{b}.norm2."],
  ["encoder.blocks.{b}.wo.", "layers.{b}.attn.proj."],
  ["encoder.blocks.{b}.mlp.fc0.", "layers.{b}.mlp.fc1."],
  ["encoder.blocks.{b}.mlp.fc1.", "layers.{b}.mlp.fc2."],
  ["encoder.final_layernorm.", "final_layernorm."],
  ["patch_embed.pos_emb.weight", "patch_embed.pos_emb.position_embeddings"],
  ["patch_embed.proj.", "patch_embed.proj."],
];

const alsoAtRunTime = (rule: MapRule): MapRule => {
  const key = `${rule.hf[0]?.key}`;
  const named = RUN_TIME_PARTS.find(([hub]) => key.startsWith(`vision_tower.${hub}`));
  if (named === undefined) return rule;
  return alsoSpelled("hf", [key.replace(`vision_tower.${named[0]}`, `model.vision_tower.${named[1]}`)], rule);
};

/** A linear map of a patch's pixels, in HF a convolution of that stride; transformers 5 saves it inside the encoder. */
const patchEmbed = (kind: "weight" | "bias", dims: string, hfDims: string): MapRule =>
  alsoSpelled(
    "hf",
    [`vision_tower.encoder.patch_embed.proj.${kind}`],
    reorder(`vision_encoder.patch_embed.${kind}`, `vision_tower.patch_embed.proj.${kind}`, dims, hfDims),
  );

/** At run time transformers 5 has q, k and v apart, and rotates the halves of a head. C = h·two. */
function attention(kind: "weight" | "bias", u: string): MapRule[] {
  const native = (name: string) => `vision_encoder.layers.{b}.attn.w${name}.${kind}`;
  const hf = (name: string) => `model.vision_tower.layers.{b}.attn.${name}_proj.${kind}`;
  const parts = { q: native("q"), k: native("k"), v: native("v") };
  return inOrder(
    RUN_TIME,
    [concat(parts, `vision_tower.encoder.blocks.{b}.wqkv.${kind}`, `(q: a C | k: a C | v: a C)${u}`)],
    [
      permuteRope<string, string>(native("q"), hf("q"), `(a h two)${u}`),
      permuteRope<string, string>(native("k"), hf("k"), `(a h two)${u}`),
      rename<string, string>(native("v"), hf("v"), `(a C)${u}`),
    ],
  );
}

/** The Hub's two releases spell the projector in two ways; transformers 5 has a third at run time, and saves the norm so. */
function projector(
  c: KimiConfig,
  [native, k25, kimiVl, runTime]: readonly [native: string, k25: string, kimiVl: string, runTime: string],
  out: string,
  rest = "",
): MapRule[] {
  const spellings = [`mm_projector.${k25}`, `multi_modal_projector.${kimiVl}`, `model.mm_projector.${runTime}`];
  const own = c.modelType === "kimi_vl" ? 1 : 0;
  return (["weight", "bias"] as const).map((kind) =>
    alsoSpelled(
      "hf",
      spellings.filter((_, i) => i !== own).map((name) => `${name}.${kind}`),
      rename<string, string>(
        `vision_encoder.projector.${native}.${kind}`,
        `${spellings[own]}.${kind}`,
        kind === "weight" ? out + rest : out,
      ),
    ),
  );
}

/** Weight (of dims `out` and `rest`) and bias of a module of the tower. */
function both(native: string, hf: string, out: string, rest = ""): MapRule[] {
  return [
    rename<string, string>(`vision_encoder.${native}.weight`, `${hf}.weight`, `${out}${rest}`),
    rename<string, string>(`vision_encoder.${native}.bias`, `${hf}.bias`, out),
  ];
}

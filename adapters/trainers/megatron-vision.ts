// Megatron Bridge's Qwen3VLModel, of which Qwen3.5 is one, too: a GPTModel under `language_model.`, and a vision tower under
// `vision_model.`, which is one of two. From 0.4 on it is Megatron-Core's TransformerBlock, whose blocks and DeepStack mergers are
// stacked as a decoder's layers are; before, it was Hugging Face's own module under its own keys.
//   NVIDIA-NeMo/Megatron-Bridge@067f987df:src/megatron/bridge/models/qwen_vl/modelling_qwen3_vl/{model,vision_model,transformer_block}.py
//   NVIDIA-NeMo/Megatron-Bridge@067f987df:src/megatron/bridge/models/conversion/param_mapping.py, `ConcatenatedQKVMapping`
//   NVIDIA-NeMo/Megatron-Bridge@v0.3.1:src/megatron/bridge/models/qwen_vl/modelling_qwen3_vl/model.py
//
// A family writes the rules of its decoder as if there were no tower:
//   (c) => bridgeModel({
//     language: [...embedding(), ...layers((layer) => […]), finalNorm(), ...head(c.tied)],
//     tower: { patches: "s", mergers: "m" },
//   })
// Axes of the tower: b blocks, u width, i ffn, a heads, B channels of a head, c colours, t frames, p and q rows and columns of a
// patch, x positions, z width of a token's patches, o width of what it hands on.
import {
  type DropRule,
  inForm,
  type MapRule,
  map,
  type Rule,
  rename,
  type Side,
  type Term,
  type TieRule,
  tower,
} from "../../src/table/rule.ts";
import { APART, type Block, LANGUAGE_MODEL, type Layer, ONE_BY_ONE, oneByOne, stacked } from "./megatron.ts";

export interface TowerAxes {
  /** Patches of a token. */
  readonly patches: string;
  /** DeepStack mergers; none unless given. */
  readonly mergers?: string | undefined;
}

interface BridgeModel {
  /** Of the decoder, under the keys of a model without a tower on both sides. */
  readonly language: readonly Rule[];
  /** Whether its layers are of several kinds, which are always one by one. */
  readonly unlike?: boolean;
  readonly tower: TowerAxes;
}

/** What files with Hugging Face's tower say of themselves, beside the form of their decoder. */
const OLD_TOWER = "vision tower of Hugging Face";

/**
 * A decoder and a tower have forms of their own, and files are in one form as a whole: so each form of files has rules for
 * both. `non_homogeneous_layers` saves both one by one, `singleton_local_shards` those of the decoder alone.
 */
export function bridgeModel({ language, unlike = false, tower: axes }: BridgeModel): Rule[] {
  const decoder = language.map(inModel);
  const of = (form: string | undefined) => decoder.filter((rule) => rule.form === form);
  const oneByOneOf = unlike ? of("") : of(ONE_BY_ONE);
  const old = tower(VISION, oldTower(axes));
  const [inStacks, byLayer] = [stacked, oneByOne].map((kind) => tower(VISION, coreTower(axes, kind)));
  return [
    ...of(undefined),
    ...inForm("", [...of(""), ...inStacks!]),
    ...inForm(ONE_BY_ONE, [...oneByOneOf, ...byLayer!]),
    ...inForm(APART, [...of(APART), ...inStacks!]),
    ...inForm(OLD_TOWER, [...of(""), ...old]),
    ...(unlike ? [] : inForm(`${OLD_TOWER}, ${ONE_BY_ONE}`, [...oneByOneOf, ...old])),
    ...inForm(`${OLD_TOWER}, ${APART}`, [...of(APART), ...old]),
  ];
}

const VISION = "vision tower";

/** Hugging Face names the decoder's tensors `model.language_model.`; its head and what is none of `model.` keep their names. */
const inside = (side: Side, key: string): string =>
  side === "native" ? `${LANGUAGE_MODEL}${key}` : key.replace(/^model\./, "model.language_model.");

/** A rule of the decoder as one of the whole model. */
function inModel(rule: Rule): MapRule | TieRule | DropRule {
  const moved = (side: Side, { key, spellings, ...term }: Term): Term => ({
    ...term,
    key: inside(side, key),
    ...(spellings === undefined ? {} : { spellings: spellings.map((each) => inside(side, each)) }),
  });
  switch (rule.kind) {
    case "map":
      return {
        ...rule,
        native: rule.native.map((term) => moved("native", term)),
        hf: rule.hf.map((term) => moved("hf", term)),
      };
    case "tie":
      return { ...rule, alias: inside(rule.side, rule.alias), of: inside(rule.side, rule.of) };
    case "drop":
      return { ...rule, key: inside(rule.side, rule.key) };
    case "passThrough":
    case "prefix":
    case "refuse":
      throw new Error(`a decoder with a tower has no rule of the kind ${rule.kind}`);
    default:
      throw rule satisfies never;
  }
}

const BLOCKS: Block = { native: "vision_model.decoder.layers", hf: "model.visual.blocks", axis: "b" };

/** Megatron-Core's: rows of linear_qkv lie by head, and norms by the linear map behind them. */
function coreTower({ patches, mergers }: TowerAxes, kind: (block: Block) => Layer): MapRule[] {
  const layer = kind(BLOCKS);
  const qkv = (part: "weight" | "bias", u: string) =>
    map("visionQkv", layer.term(`self_attention.linear_qkv.${part}`, `(a (q: B | k: B | v: B))${u}`), {
      [layer.hf(`attn.qkv.${part}`)]: `(q: a B | k: a B | v: a B)${u}`,
    });
  return [
    ...stem,
    ...norm(layer, "self_attention.linear_qkv.layer_norm", "norm1", ["input_layernorm"]),
    qkv("weight", " u"),
    qkv("bias", ""),
    ...linear(layer, "self_attention.linear_proj", "attn.proj", "u", "(a B)"),
    ...norm(layer, "mlp.linear_fc1.layer_norm", "norm2", ["pre_mlp_layernorm"]),
    ...linear(layer, "mlp.linear_fc1", "mlp.linear_fc1", "i", "u"),
    ...linear(layer, "mlp.linear_fc2", "mlp.linear_fc2", "u", "i"),
    ...both("merger.patch_norm", "merger.norm", "u"),
    ...merger(patches),
    ...(mergers === undefined ? [] : coreMergers(kind, patches, mergers)),
  ];
}

/** DeepStack's norm after joining the patches of a token, the last merger before. */
function coreMergers(kind: (block: Block) => Layer, patches: string, axis: string): MapRule[] {
  const name = "deepstack_merger_list";
  const layer = kind({ native: `vision_model.decoder.${name}`, hf: `model.visual.${name}`, axis });
  return [
    ...linear(layer, "patch_norm", "norm", `(${patches} u)`),
    ...linear(layer, "linear_fc1", "linear_fc1", "z", `(${patches} u)`),
    ...linear(layer, "linear_fc2", "linear_fc2", "o", "z"),
  ];
}

/** Weight, of dims `out` and `rest`, and bias. */
const linear = (layer: Layer, native: string, hf: string, out: string, rest = ""): MapRule[] => [
  layer.row(`${native}.weight`, `${hf}.weight`, `${out} ${rest}`.trim()),
  layer.row(`${native}.bias`, `${hf}.bias`, out),
];

/** Fused into a linear map by Transformer Engine; a module of its own in the local spec. */
const norm = (layer: Layer, native: string, hf: string, others: readonly string[]): MapRule[] =>
  ["weight", "bias"].map((part) =>
    layer.row(
      `${native}_${part}`,
      `${hf}.${part}`,
      "u",
      others.map((other) => `${other}.${part}`),
    ),
  );

/** Hugging Face's keys, one by one. */
function oldTower({ patches, mergers }: TowerAxes): MapRule[] {
  const same = (name: string, out: string, rest = "") => both(name, name, out, rest);
  return [
    ...stem,
    ...same("blocks.{b}.norm1", "u"),
    ...same("blocks.{b}.norm2", "u"),
    ...same("blocks.{b}.attn.qkv", "(q: a B | k: a B | v: a B)", "u"),
    ...same("blocks.{b}.attn.proj", "u", "(a B)"),
    ...same("blocks.{b}.mlp.linear_fc1", "i", "u"),
    ...same("blocks.{b}.mlp.linear_fc2", "u", "i"),
    ...same("merger.norm", "u"),
    ...merger(patches),
    ...(mergers === undefined ? [] : oldMergers(patches, mergers)),
  ];
}

function oldMergers(patches: string, axis: string): MapRule[] {
  const list = `deepstack_merger_list.{${axis}}`;
  const same = (name: string, out: string, rest = "") => both(`${list}.${name}`, `${list}.${name}`, out, rest);
  return [
    ...same("norm", `(${patches} u)`),
    ...same("linear_fc1", "z", `(${patches} u)`),
    ...same("linear_fc2", "o", "z"),
  ];
}

/** Weight and bias of a module that is not in a block. */
const both = (native: string, hf: string, out: string, rest = ""): MapRule[] => [
  rename<string, string>(`vision_model.${native}.weight`, `model.visual.${hf}.weight`, `${out} ${rest}`.trim()),
  rename<string, string>(`vision_model.${native}.bias`, `model.visual.${hf}.bias`, out),
];

const stem: readonly MapRule[] = [
  ...both("patch_embed.proj", "patch_embed.proj", "u", "c t p q"),
  rename("vision_model.pos_embed.weight", "model.visual.pos_embed.weight", "x u"),
];

const merger = (patches: string): MapRule[] => [
  ...both("merger.linear_fc1", "merger.linear_fc1", "z", `(${patches} u)`),
  ...both("merger.linear_fc2", "merger.linear_fc2", "o", "z"),
];

/** `_extra_state` of the decoder's modules and of the tower's; nothing is in it without FP8. */
export function bridgeStates(language: readonly string[], { nBlocks, nMergers = 0 }: TowerSizes): readonly string[] {
  const stack = (module: string, names: readonly string[], size: number) =>
    names.flatMap((name) =>
      Array.from({ length: size }, (_, i) => `vision_model.${module}.${name}._extra_state/shard_${i}_${size}`),
    );
  return [
    ...language.map((name) => `${LANGUAGE_MODEL}${name}`),
    ...stack("decoder.layers", BLOCK_MODULES, nBlocks),
    ...stack("decoder.deepstack_merger_list", MERGER_MODULES, nMergers),
    ...MERGER_MODULES.map((name) => `vision_model.merger.${name}._extra_state/shard_0_1`),
  ];
}

interface TowerSizes {
  readonly nBlocks: number;
  readonly nMergers?: number;
}

const BLOCK_MODULES = [
  ...["core_attention", "linear_proj", "linear_qkv"].map((name) => `self_attention.${name}`),
  ...["linear_fc1", "linear_fc2"].map((name) => `mlp.${name}`),
];
const MERGER_MODULES = ["patch_norm", "linear_fc1", "linear_fc2"];

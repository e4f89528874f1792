// Megatron-Core's `torch_dist` checkpoints: keys of GPTModel.sharded_state_dict, the same for Transformer Engine's modules and
// the local ones but where `spellings` say otherwise. Shapes are global: ranks of TP, PP and EP show as chunks alone.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/transformer/{transformer_block,attention,mlp}.py
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/models/gpt/gpt_layer_specs.py, `sharded_state_dict_keys_map`
//
// How a family writes its table and its graph:
//   (c) => [
//     ...embedding(),
//     ...layers((layer) => [inputNorm(layer), qkv(layer), outputProjection(layer), preMlpNorm(layer), ...gatedMlp(layer, …)]),
//     finalNorm(),
//     ...head(c.tied),
//   ]
// Layers of several kinds (`moe_layer_freq` as a list) are `layers(…, { unlike: true })`; there `layer.over("moe")` has its
// tensors at the indices of another axis. `layer.row(name, hf, dims)` is one tensor under another name; whatever else a layer
// has is a `map` of `layer.term(name, dims)` and HF terms. The forms of files (layers stacked, one by one, gate and up apart)
// come of themselves. The graph is `gptForward` of megatron-graph.ts with the family's blocks. It names a layer's tensors one
// by one, whatever the form: `stackOf` says where they are in a stack.
import type { JsonObject } from "../../src/base/json.ts";
import type { LayoutRow } from "../../src/family/define.ts";
import type { StackRow } from "../../src/family/layout.ts";
import {
  type DropRule,
  inForm,
  type MapRule,
  map,
  type Rule,
  rename,
  type TermSpec,
  type Terms,
  type TieRule,
  tie,
} from "../../src/table/rule.ts";
import { megatronConfigOf, type OwnArguments } from "./megatron-args.ts";

/** Of GPTModel's keys in a model of several parts. */
export const LANGUAGE_MODEL = "language_model.";

/** `megatron` in a family's list of layouts. */
export const megatronRow = <C>({
  ownArguments = {},
  argumentsOf = () => null,
  within = [""],
  ...row
}: Pick<LayoutRow<C>, "rules" | "graph" | "differences" | "emptyEntries"> & {
  readonly ownArguments?: OwnArguments;
  /** A config as arguments of a run; none are written where it gives null, or is not there. */
  readonly argumentsOf?: (config: C) => JsonObject | null;
  /** Of GPTModel, which models of several parts have under `language_model.` A family may have models of both kinds. */
  readonly within?: readonly string[];
}): LayoutRow<C> => ({
  ...row,
  name: "megatron",
  trainer: "megatron",
  since: "core 0.7",
  configOf: (args, where, keys) => {
    const found = megatronConfigOf(args, where, ownArguments);
    // Of what stands beside a language model the arguments say nothing.
    return [...keys].some((key) => key.startsWith(LANGUAGE_MODEL)) ? { ...found, whole: null } : found;
  },
  files: (config) => [
    { name: "metadata.json", json: { sharded_backend: "torch_dist", sharded_backend_version: 1 }, beside: "dcp" },
    { name: "common.pt", ...common(argumentsOf(config)), pickled: true, beside: "dcp" },
  ],
  padded: within.flatMap((prefix) => PADDED.map((key) => `${prefix}${key}`)),
  stackOf,
});

const PADDED = ["embedding.word_embeddings.weight", "output_layer.weight"];

/** What modules of a dense layer, local ones or Transformer Engine's, ask for in loading; nothing is in it without FP8. */
const DENSE_MODULES = [
  "self_attention.core_attention",
  "self_attention.linear_proj",
  "self_attention.linear_qkv",
  "self_attention.q_layernorm",
  "self_attention.k_layernorm",
  "mlp.linear_fc1",
  "mlp.linear_fc2",
] as const;

/** `_extra_state` of stacked layers, and of the norm behind them. */
export const extraStates = (layers: number, modules: readonly string[] = DENSE_MODULES): readonly string[] => [
  ...modules.flatMap((name) =>
    Array.from({ length: layers }, (_, l) => `decoder.layers.${name}._extra_state/shard_${l}_${layers}`),
  ),
  "decoder.final_layernorm._extra_state/shard_0_1",
];

/** What a run finds of the one before, with the arguments that make its model. Both 0.16 and 0.19 read it. */
const common = (args: JsonObject | null) =>
  args === null ? { json: COMMON } : { json: { ...COMMON, args }, namespaces: ["args"] };

/** As `release` of the published models, at iteration 0. */
const COMMON = { iteration: 0, checkpoint_version: 3, content_metadata: { singleton_local_shards: false } } as const;

/** A layer's tensor where layers are stacked: `decoder.layers.3.mlp…` is row 3 of `decoder.layers.mlp…`. */
function stackOf(key: string): StackRow | null {
  const [, block, layer, name] =
    /^((?:(?:language|vision)_model\.)?(?:decoder|mtp)\.(?:layers|deepstack_merger_list))\.(\d+)\.(.+)$/.exec(key) ??
    [];
  return layer === undefined ? null : { key: `${block}.${name}`, row: Number(layer) };
}

/** How the layers of a block stand in files. A family's rules are written once for all of it. */
export interface Layer {
  /** Whether gate and up are tensors of their own, as `singleton_local_shards` saves them. */
  readonly isApart: boolean;
  /** A tensor of the layers, by its name in a layer and the dims that it has there. */
  readonly term: (name: string, dims: string, more?: Omit<Exclude<TermSpec, string>, "dims">) => Terms;
  /** A tensor that Hugging Face has under another name, by its name in HF's layer. */
  readonly row: (name: string, hf: string, dims: string, spellings?: readonly string[]) => MapRule;
  /** Pattern of a key of HF's layers. */
  readonly hf: (name: string) => string;
  /** Another name of a tensor: files have one or the other, and are written with both. */
  readonly also: (name: string, of: string) => TieRule;
  /** Pattern of a key of these layers, and dims as they stand there. */
  readonly key: (name: string) => string;
  readonly dims: (dims: string) => string;
  /** The same at the indices of another axis: `dense`, `moe`. */
  readonly over: (axis: string) => Layer;
}

export interface Block {
  /** Module of the layers; `decoder.layers` unless given. */
  readonly native: string;
  /** HF's; `model.layers` unless given. */
  readonly hf: string;
  /** Axis of the layers; `l` unless given. */
  readonly axis: string;
  /** Index of HF's layers, `m+L`; the axis unless given. */
  readonly hfIndex?: string;
  /** Module of a layer that has its tensors: `transformer_layer`. */
  readonly inner?: string;
}

export type LayerRules = (layer: Layer) => readonly (MapRule | TieRule | DropRule)[];

const DECODER: Block = { native: "decoder.layers", hf: "model.layers", axis: "l" };

/** Keys `decoder.layers.<name>`, dims `l …`. */
export const stacked = (block: Block): Layer => ({
  ...parts(
    block,
    (name) => `${block.native}.${name}`,
    (dims) => (dims === "." ? block.axis : `${block.axis} ${dims}`),
  ),
  isApart: false,
  over: (axis) => stacked({ ...block, axis }),
});

/** Keys `decoder.layers.N.<name>`. */
export const oneByOne = (block: Block, isApart = false): Layer => ({
  ...parts(
    block,
    (name) => [`${block.native}.{${block.axis}}`, ...(block.inner === undefined ? [] : [block.inner]), name].join("."),
    (dims) => dims,
  ),
  isApart,
  over: (axis) => oneByOne({ ...block, axis }, isApart),
});

function parts(
  { hf, axis, hfIndex = axis }: Block,
  key: (name: string) => string,
  all: (dims: string) => string,
): Omit<Layer, "isApart" | "over"> {
  const hfKey = (name: string) => `${hf}.{${hfIndex}}.${name}`;
  return {
    hf: hfKey,
    key,
    dims: all,
    also: (name, of) => tie("native", key(name), key(of), BOTH_NAMES, true),
    term: (name, dims, { spellings, ...more } = {}) => ({
      [key(name)]: {
        ...more,
        dims: all(dims),
        ...(spellings === undefined ? {} : { spellings: spellings.map(key) }),
      },
    }),
    row(name, hfName, dims, spellings = []) {
      const term = { dims: all(dims), spellings: spellings.map(key) };
      return map("rename", { [key(name)]: term }, { [hfKey(hfName)]: dims });
    },
  };
}

const BOTH_NAMES = "Transformer Engine's modules and the local ones ask for a norm under different names";

/** What files say of themselves: "" is what is written. */
export const ONE_BY_ONE = "layers one by one";
export const APART = "gate and up apart";

/**
 * Layers of one kind are written stacked, and read one by one, too (`non_homogeneous_layers`, `singleton_local_shards`);
 * layers of several kinds are always one by one.
 */
export function layers(
  rules: LayerRules,
  { unlike = false, ...block }: Partial<Block> & { readonly unlike?: boolean } = {},
): Rule[] {
  const own = { ...DECODER, ...block };
  const apart = inForm(APART, rules(oneByOne(own, true)));
  if (unlike) return [...inForm("", rules(oneByOne(own))), ...apart];
  return [...inForm("", rules(stacked(own))), ...inForm(ONE_BY_ONE, rules(oneByOne(own))), ...apart];
}

/** Layers that are always one by one, beside those of a decoder that may be stacked. */
export function singleLayers(rules: LayerRules, block: Partial<Block> = {}): Rule[] {
  return [
    ...layers(rules, { ...block, unlike: true }),
    ...inForm(ONE_BY_ONE, rules(oneByOne({ ...DECODER, ...block }))),
  ];
}

export const embedding = (hf = "model.embed_tokens.weight"): MapRule[] => [
  rename<string, string>("embedding.word_embeddings.weight", hf, "v d"),
];

export const finalNorm = (hf = "model.norm.weight"): MapRule =>
  rename<string, string>("decoder.final_layernorm.weight", hf, "d");

/** `share_embeddings_and_output_weights` leaves the output layer out. */
export const head = (tied: boolean, hf = "lm_head.weight", embedded = "model.embed_tokens.weight"): Rule[] =>
  tied
    ? [
        tie("native", "output_layer.weight", "embedding.word_embeddings.weight", "tied embeddings", false),
        tie("hf", hf, embedded, "tied embeddings", false),
      ]
    : [rename<string, string>("output_layer.weight", hf, "v d")];

/** Before attention: fused into linear_qkv by Transformer Engine, and named so by the local spec, too. */
export const inputNorm = (layer: Layer, hf = "input_layernorm.weight"): MapRule =>
  layer.row("self_attention.linear_qkv.layer_norm_weight", hf, "d", ["input_layernorm.weight"]);

/** Before a dense MLP. */
export const preMlpNorm = (layer: Layer, hf = "post_attention_layernorm.weight"): MapRule =>
  layer.row("mlp.linear_fc1.layer_norm_weight", hf, "d", ["pre_mlp_layernorm.weight"]);

/** Rows lie by key head: its r query heads, the key head, its value head. Axes: n = k·r query heads, H channels of a head. */
export function qkv(layer: Layer, kind: "weight" | "bias" = "weight", hf = "self_attn"): MapRule {
  const d = kind === "weight" ? " d" : "";
  return map("groupedQkv", layer.term(`self_attention.linear_qkv.${kind}`, `(k (q: r H | k: H | v: H))${d}`), {
    [layer.hf(`${hf}.q_proj.${kind}`)]: `q: (k r H)${d}`,
    [layer.hf(`${hf}.k_proj.${kind}`)]: `k: (k H)${d}`,
    [layer.hf(`${hf}.v_proj.${kind}`)]: `v: (k H)${d}`,
  });
}

export const outputProjection = (layer: Layer): MapRule =>
  layer.row("self_attention.linear_proj.weight", "self_attn.o_proj.weight", "d (n H)");

/** Of single heads. */
export const qkNorms = (layer: Layer): MapRule[] => [
  layer.row("self_attention.q_layernorm.weight", "self_attn.q_norm.weight", "H"),
  layer.row("self_attention.k_layernorm.weight", "self_attn.k_norm.weight", "H"),
];

/** linear_fc1: gate rows, then up rows, of `f` each. */
export function gateUp(
  layer: Layer,
  native: string,
  hf: string,
  f: string,
  kind: "weight" | "bias" = "weight",
): MapRule[] {
  const d = kind === "weight" ? " d" : "";
  const [gate, up] = [layer.hf(`${hf}.gate_proj.${kind}`), layer.hf(`${hf}.up_proj.${kind}`)];
  const fc1 = `${native}.linear_fc1.${kind}`;
  if (layer.isApart)
    return [
      map("rename", layer.term(`${fc1}_w`, `${f}${d}`), { [gate]: `${f}${d}` }),
      map("rename", layer.term(`${fc1}_v`, `${f}${d}`), { [up]: `${f}${d}` }),
    ];
  return [
    map("gateUp", layer.term(fc1, `(gate: ${f} | up: ${f})${d}`), {
      [gate]: `gate: ${f}${d}`,
      [up]: `up: ${f}${d}`,
    }),
  ];
}

/** An MLP with a gate, and without biases. */
export const gatedMlp = (layer: Layer, native: string, hf: string, f: string): MapRule[] => [
  ...gateUp(layer, native, hf, f),
  layer.row(`${native}.linear_fc2.weight`, `${hf}.down_proj.weight`, `d ${f}`),
];

// Changes that are no fault: what the model computes is the same, though bytes or fields are not.
import { bytesOf, type Change, recalculated } from "../../edit.ts";
import type { Sample } from "../../fault.ts";
import { along, exchanged, rolled, toPairs } from "../axes.ts";
import { fieldKind, KEEP, ofNumber, turnedOver, withValues } from "../config/field.ts";
import { type Kind, tensorKind, withTensors } from "../kind.ts";
import { embeddingOf, headOf, isTied } from "../model/tied-head.ts";
import {
  expertCount,
  headDim,
  isVision,
  keyHeads,
  keysLike,
  layerOf,
  queryHeads,
  textConfig,
  visionConfig,
} from "../names.ts";
import { layersOf, reorder, routers } from "../order/experts.ts";

/** The id whose vector is changed: only an input without it does not show it. */
export const UNREAD = 3;

const CONTROL = { code: null, keepsShapes: true } as const;

/** Layers whose queries and keys do not turn. */
function stillLayers({ config }: Sample): readonly number[] {
  const { no_rope_layers, layer_rope_theta } = textConfig(config);
  const list = Array.isArray(no_rope_layers) ? no_rope_layers : Array.isArray(layer_rope_theta) ? layer_rope_theta : [];
  return list.flatMap((turns: unknown, layer) => (turns === 0 ? [layer] : []));
}

const ofAttention = (sample: Sample, pattern: RegExp): string[] =>
  keysLike(sample, pattern, ({ key, shape }) => !isVision(key) && shape[0]! % headDim(sample) === 0);

const changes = (keys: readonly string[], bytes: (key: string) => Uint8Array): Readonly<Record<string, Change>> =>
  Object.fromEntries(keys.map((key) => [key, { bytes: () => bytes(key) }]));

const sibling = (key: string, name: string): string => key.replace(/[qkvo]_proj/, name);

/** All heads of a layer, and of what is made of them, in another order: groups of queries stay with their keys. */
const headsTogether: Kind = {
  name: "control-heads-reordered-together",
  ...CONTROL,
  about: "key heads, their queries, values and the columns of the output in one other order",
  places: (sample) =>
    keyHeads(sample) < 2
      ? []
      : ofAttention(sample, /self_attn\.k_proj\.weight$/).filter((key) => {
          const { tensors } = sample.source;
          const rows = (name: string) => tensors.get(sibling(key, name))?.shape;
          const isPlain = ["q_proj", "v_proj", "o_proj"].every((name) => rows(name) !== undefined);
          const isWhole = rows("q_proj")?.[0] === headDim(sample) * queryHeads(sample);
          const hasMore = ["lambda_q1", "sinks", "gate_proj.weight", "q_layernorm.norms.0.weight", "q_proj.bias"].some(
            (name) => tensors.has(key.replace("k_proj.weight", name)),
          );
          // A norm over all heads has a weight a channel.
          const normed = tensors.get(key.replace("k_proj.weight", "k_norm.weight"))?.shape[0] ?? headDim(sample);
          return isPlain && isWhole && !hasMore && normed === headDim(sample);
        }),
  make(sample, place) {
    const [k, head, q] = [keyHeads(sample), headDim(sample), queryHeads(sample)];
    const { source } = sample;
    const moved = (key: string): Uint8Array => {
      const { shape } = source.tensors.get(key)!;
      const axis = key.includes("o_proj") ? 1 : 0;
      const size = /[qo]_proj/.test(key) ? (q / k) * head : head;
      const finer = [...shape.slice(0, axis), k, size, ...shape.slice(axis + 1)];
      return along(source, key, { shape: finer, axis }, rolled(k));
    };
    return withTensors(
      sample,
      changes(
        ["k_proj", "q_proj", "v_proj", "o_proj"].map((name) => sibling(place, name)),
        moved,
      ),
    );
  },
};

const WEIGHTS: readonly Kind[] = [
  {
    name: "control-unturned-channels-reordered",
    ...CONTROL,
    about: "queries and keys of a layer without positions in one other order of channels",
    places: (sample) =>
      ofAttention(sample, /self_attn\.k_proj\.weight$/).filter((key) =>
        stillLayers(sample).includes(layerOf(key)?.layer ?? -1),
      ),
    make: (sample, place) =>
      withTensors(
        sample,
        changes([place, sibling(place, "q_proj")], (key) =>
          along(sample.source, key, { axis: 0 }, (row) => toPairs(headDim(sample))(row)),
        ),
      ),
  },
  headsTogether,
  {
    name: "control-experts-and-router-reordered",
    ...CONTROL,
    about: "experts and the rows of their router in one other order",
    places: (sample) =>
      expertCount(sample) < 2 || numbersOfGroups(sample) > 1
        ? []
        : layersOf(sample).filter((key) => routerOf(sample, key) !== undefined),
    make(sample, place) {
      const order = exchanged(0, expertCount(sample) - 1);
      const experts = reorder(sample, place, order);
      const beside = routerTensors(sample, place);
      const both = withTensors(
        experts,
        changes(beside, (key) => along(sample.source, key, { axis: 0 }, order)),
      );
      return { ...both, tensors: [...experts.tensors, ...beside] };
    },
  },
  tensorKind({
    name: "control-unread-embedding-row",
    code: null,
    about: "the vector of token 3, for inputs that do not have it",
    // Images bring ids of their own.
    places: (sample) =>
      isTied(sample) || visionConfig(sample.config) !== null ? [] : [embeddingOf(sample)].flatMap((key) => key ?? []),
    bytes({ source }, key) {
      const [rows = 0, width = 0] = source.tensors.get(key)!.shape;
      return recalculated(source, key, (x, i) => (Math.floor(i / width) === Math.min(UNREAD, rows - 1) ? 2 * x : x));
    },
  }),
  {
    name: "control-tied-head-written",
    ...CONTROL,
    keepsShapes: false,
    about: "the embedding written once more under the name of the tied head",
    places(sample) {
      const embedding = embeddingOf(sample);
      return isTied(sample) && embedding !== undefined && !sample.source.tensors.has(headOf(embedding))
        ? [headOf(embedding)]
        : [];
    },
    make(sample, head) {
      const embedding = embeddingOf(sample)!;
      return withTensors(sample, {
        [head]: { bytes: () => bytesOf(sample.source, embedding), info: sample.source.tensors.get(embedding)! },
      });
    },
  },
];

const numbersOfGroups = ({ config }: Sample): number => Number(textConfig(config).n_group ?? 1);

const layerPrefix = (key: string): string => key.slice(0, key.indexOf("experts."));

const routerOf = (sample: Sample, key: string): string | undefined =>
  routers(sample).find((router) => router.startsWith(layerPrefix(key)));

/** Weight and biases of the router of that layer, a value an expert. */
const routerTensors = (sample: Sample, key: string): string[] =>
  keysLike(
    sample,
    /\.(?:gate|router)\.(?:weight|bias|e_score_correction_bias)$/,
    (info) => info.key.startsWith(layerPrefix(key)) && info.shape[0] === expertCount(sample),
  );

const CONFIG: readonly Kind[] = [
  fieldKind({
    name: "control-initializer-range",
    code: null,
    about: "how weights were initialised",
    field: "initializer_range",
    to: ofNumber((x) => 2 * x),
  }),
  fieldKind({
    name: "control-use-cache",
    code: null,
    about: "whether generation keeps keys and values",
    field: "use_cache",
    to: turnedOver,
  }),
  fieldKind({
    name: "control-attention-dropout",
    code: null,
    about: "dropout, which training alone has",
    field: "attention_dropout",
    to: ofNumber((x) => x + 0.1),
  }),
  fieldKind({
    name: "control-router-loss",
    code: null,
    about: "the weight of the loss that balances experts",
    field: "router_aux_loss_coef",
    to: ofNumber((x) => 2 * x),
  }),
  fieldKind({
    name: "control-longest-position",
    code: null,
    about: "a longer input allowed than before",
    field: "max_position_embeddings",
    // Some scalings begin at this length.
    to: ofNumber((x, config) =>
      JSON.stringify(config).includes("original_max") || config.sliding_window ? KEEP : 2 * x,
    ),
  }),
  {
    name: "control-window-beyond-all-positions",
    ...CONTROL,
    about: "a sliding window that no position reaches beyond, in a model that has none",
    places: ({ config }) =>
      textConfig(config).sliding_window === null &&
      textConfig(config).use_sliding_window === undefined &&
      textConfig(config).layer_types === undefined
        ? ["sliding_window"]
        : [],
    make: (sample, place) =>
      withValues(sample, { [place]: Number(textConfig(sample.config).max_position_embeddings) + 1 }),
  },
  {
    name: "control-unknown-field",
    ...CONTROL,
    about: "a field that nothing reads",
    places: () => ["trained_by"],
    make: (sample, place) => withValues(sample, { [place]: "a trainer" }),
  },
  fieldKind({
    name: "control-mrope-interleaved",
    code: null,
    about: "a field that transformers does not read: positions are interleaved all the same",
    field: "mrope_interleaved",
    // With a partial factor it is refused: nobody knows what it would be.
    to: (value, config) => (config.partial_rotary_factor === undefined ? turnedOver(value, config) : KEEP),
  }),
];

export const CONTROLS: readonly Kind[] = [...WEIGHTS, ...CONFIG];

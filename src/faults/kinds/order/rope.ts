// Queries and keys in the channel order of the other rotary embedding: half of a head's channels and the other half
// (transformers), or adjacent pairs (Meta, torchtitan). Same shapes, same values; position 0 is exact and the error grows.
import type { Sample } from "../../fault.ts";
import { along, type Order, toHalves, toPairs } from "../axes.ts";
import { type Kind, type TensorKind, tensorKind, withTensors } from "../kind.ts";
import { headDim, isVision, keyHeads, keysLike, numberOf, queryHeads, rotaryDim, textConfig } from "../names.ts";

const QUERIES = /\.q_proj\.weight$/;
const KEYS = /\.k_proj\.weight$/;

const isTurning = (head: number): boolean => head >= 4 && head % 2 === 0;

/** Projections of the language model whose heads are whole and turn in all their channels. */
function wholeHeads(sample: Sample, pattern: RegExp): string[] {
  const head = headDim(sample);
  const isLatent = numberOf(textConfig(sample.config), ["kv_lora_rank"]) > 0;
  if (isLatent || !isTurning(head) || rotaryDim(sample) !== head) return [];
  return keysLike(sample, pattern, ({ key, shape }) => !isVision(key) && shape[0]! % head === 0);
}

const inRows = (sample: Sample, key: string, order: Order): Uint8Array => along(sample.source, key, { axis: 0 }, order);

const paired = (sample: Sample, key: string): Uint8Array => inRows(sample, key, toPairs(headDim(sample)));

const rope = (kind: Omit<TensorKind, "code">): Kind => tensorKind({ code: "ROPE_PERMUTED", ...kind });

/** The part of each head, of `size` rows, that turns: `count` rows from `begin` on. */
const within =
  (size: number, begin: number, count: number, order: (row: number) => number = toPairs(count)): Order =>
  (row) => {
    const at = (row % size) - begin;
    return at >= 0 && at < count ? row - at + order(at) : row;
  };

const WHOLE: readonly Kind[] = [
  rope({
    name: "rope-q-not-permuted",
    about: "queries of one layer in the order of adjacent pairs (llama.cpp#2376, maxtext#1774)",
    places: (sample) => wholeHeads(sample, QUERIES),
    bytes: paired,
  }),
  rope({
    name: "rope-k-not-permuted",
    about: "keys of one layer in the order of adjacent pairs (llama2.c#286)",
    places: (sample) => wholeHeads(sample, KEYS),
    bytes: paired,
  }),
  rope({
    name: "rope-k-permuted-twice",
    about: "keys of one layer permuted once more than they should be (maxtext#1774)",
    places: (sample) => wholeHeads(sample, KEYS),
    bytes: (sample, key) => inRows(sample, key, toHalves(headDim(sample))),
  }),
  {
    name: "rope-not-permuted",
    code: "ROPE_PERMUTED",
    about: "queries and keys of all layers in the order of adjacent pairs (llama2.c#286, llama.cpp#2376)",
    keepsShapes: true,
    places: (sample) => wholeHeads(sample, KEYS).slice(0, 1),
    make(sample) {
      const all = [...wholeHeads(sample, QUERIES), ...wholeHeads(sample, KEYS)];
      return withTensors(sample, Object.fromEntries(all.map((key) => [key, { bytes: () => paired(sample, key) }])));
    },
  },
  rope({
    name: "rope-bias-not-permuted",
    about: "a bias of queries or keys left as it was while its weight was permuted",
    places: (sample) => wholeHeads(sample, /\.[qk]_proj\.bias$/),
    bytes: paired,
  }),
];

/** As `head_dim` of the query heads: what is left where a number of heads is taken for the other one. */
const mistakenHead = (sample: Sample): number => (headDim(sample) * keyHeads(sample)) / queryHeads(sample);

const PARTS: readonly Kind[] = [
  rope({
    name: "rope-one-head-not-permuted",
    about: "the last head of queries or keys in the other order, all before it right",
    places: (sample) =>
      wholeHeads(sample, /\.[qk]_proj\.weight$/).filter(
        (key) => sample.source.tensors.get(key)!.shape[0]! > headDim(sample),
      ),
    bytes(sample, key) {
      const head = headDim(sample);
      const rows = sample.source.tensors.get(key)!.shape[0]!;
      return inRows(sample, key, within(rows, rows - head, head));
    },
  }),
  rope({
    name: "rope-k-by-query-heads",
    alsoCodes: ["ROWS_REORDERED"],
    about: "keys permuted in as many heads as queries have, with grouped queries (llama.cpp#2376)",
    places: (sample) =>
      isTurning(mistakenHead(sample)) && mistakenHead(sample) !== headDim(sample) ? wholeHeads(sample, KEYS) : [],
    bytes: (sample, key) => inRows(sample, key, toPairs(mistakenHead(sample))),
  }),
  rope({
    name: "rope-rotary-part-not-permuted",
    about: "the channels of each head that turn in the other order, with a partial rotary factor (maxtext#4764)",
    places(sample) {
      const [head, part] = [headDim(sample), rotaryDim(sample)];
      if (!isTurning(part) || part === head) return [];
      return keysLike(sample, /\.[qk]_proj\.weight$/, ({ key, shape }) => !isVision(key) && shape[0]! % head === 0);
    },
    bytes(sample, key) {
      const [head, part] = [headDim(sample), rotaryDim(sample)];
      const rows = sample.source.tensors.get(key)!.shape[0]!;
      // Gated queries have their gate after each head.
      const isGated = QUERIES.test(key) && rows === 2 * head * queryHeads(sample);
      return inRows(sample, key, within(isGated ? 2 * head : head, 0, part));
    },
  }),
];

export const ROPE: readonly Kind[] = [...WHOLE, ...PARTS];
export { inRows, isTurning, rope, within };

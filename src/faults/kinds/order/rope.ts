// Queries and keys in the channel order of the other rotary embedding: half of a head's channels and the other half
// (transformers), or adjacent pairs (Meta, torchtitan). Same shapes, same values; position 0 is exact and the error grows.
import type { Sample } from "../../fault.ts";
import { along, type Order, toHalves, toPairs } from "../axes.ts";
import { type Kind, tensorKind, withTensors } from "../kind.ts";
import { headDim, isVision, keysLike, rotaryDim } from "../names.ts";

const QUERIES = /\.q_proj\.weight$/;
const KEYS = /\.k_proj\.weight$/;

/** Rows of a projection whose heads are whole and turn in all their channels. */
const wholeHeads = (sample: Sample, pattern: RegExp): string[] => {
  const head = headDim(sample);
  if (head < 4 || head % 2 !== 0 || rotaryDim(sample) !== head) return [];
  return keysLike(sample, pattern, ({ key, shape }) => !isVision(key) && shape[0]! % head === 0);
};

const inRows = (sample: Sample, key: string, order: Order) => along(sample.source, key, { axis: 0 }, order);

const paired = (sample: Sample, key: string) => inRows(sample, key, toPairs(headDim(sample)));

const queries = tensorKind({
  name: "rope-q-not-permuted",
  code: "ROPE_PERMUTED",
  about: "queries of one layer in the order of adjacent pairs (llama.cpp#2376, maxtext#1774)",
  places: (sample) => wholeHeads(sample, QUERIES),
  bytes: paired,
});

const keys = tensorKind({
  name: "rope-k-not-permuted",
  code: "ROPE_PERMUTED",
  about: "keys of one layer in the order of adjacent pairs (llama2.c#286)",
  places: (sample) => wholeHeads(sample, KEYS),
  bytes: paired,
});

const twice = tensorKind({
  name: "rope-k-permuted-twice",
  code: "ROPE_PERMUTED",
  about: "keys of one layer permuted once more than they should be (maxtext#1774)",
  places: (sample) => wholeHeads(sample, KEYS),
  bytes: (sample, key) => inRows(sample, key, toHalves(headDim(sample))),
});

const both: Kind = {
  name: "rope-not-permuted",
  code: "ROPE_PERMUTED",
  about: "queries and keys of all layers in the order of adjacent pairs: right were it permuted in neither or both",
  keepsShapes: true,
  places: (sample) => wholeHeads(sample, KEYS).slice(0, 1),
  make(sample) {
    const all = [...wholeHeads(sample, QUERIES), ...wholeHeads(sample, KEYS)];
    return withTensors(sample, Object.fromEntries(all.map((key) => [key, { bytes: () => paired(sample, key) }])));
  },
};

export const ROPE: readonly Kind[] = [queries, keys, twice, both];

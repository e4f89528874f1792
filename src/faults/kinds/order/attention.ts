// Heads of attention in another order, or taken for others.
import type { Sample } from "../../fault.ts";
import { along, exchanged, regrouped, rolled } from "../axes.ts";
import { type Kind, tensorKind } from "../kind.ts";
import { headDim, isVision, keyHeads, keysLike, queryHeads } from "../names.ts";
import { exchangedTensors, fits } from "./swapped.ts";

/** Rows of these projections in heads of the language model. */
const inHeads = (sample: Sample, key: string, axis: 0 | 1, per = 1): { shape: number[]; axis: number } => {
  const shape = sample.source.tensors.get(key)!.shape;
  const head = headDim(sample) * per;
  return { shape: [...shape.slice(0, axis), shape[axis]! / head, head, ...shape.slice(axis + 1)], axis };
};

const ofText = (sample: Sample, pattern: RegExp, rows: number, axis: 0 | 1 = 0): string[] =>
  rows === 0 ? [] : keysLike(sample, pattern, ({ key, shape }) => !isVision(key) && shape[axis] === rows);

const gated = (sample: Sample): string[] =>
  ofText(sample, /self_attn\.q_proj\.weight$/, 2 * headDim(sample) * queryHeads(sample));

export const ATTENTION: readonly Kind[] = [
  tensorKind({
    name: "o-proj-heads-reordered",
    code: "COLUMNS_REORDERED",
    about: "columns of the output projection in another order of heads than the values come in",
    places: (sample) =>
      queryHeads(sample) < 2
        ? []
        : ofText(sample, /self_attn\.(?:o_proj|dense)\.weight$/, headDim(sample) * queryHeads(sample), 1),
    bytes: (sample, key) => along(sample.source, key, inHeads(sample, key, 1), rolled(queryHeads(sample))),
  }),
  tensorKind({
    name: "query-heads-regrouped",
    code: "ROWS_REORDERED",
    about: "query heads as (group, key head) where the model has (key head, group)",
    places: (sample) => {
      const [q, k] = [queryHeads(sample), keyHeads(sample)];
      if (k < 2 || q / k < 2) return [];
      return ofText(sample, /self_attn\.q_proj\.weight$/, headDim(sample) * q);
    },
    bytes(sample, key) {
      const [q, k] = [queryHeads(sample), keyHeads(sample)];
      return along(sample.source, key, inHeads(sample, key, 0), regrouped(k, q / k));
    },
  }),
  tensorKind({
    name: "value-heads-exchanged",
    code: "ROWS_REORDERED",
    alsoCodes: ["HALVES_SWAPPED"],
    about: "two heads of values in each other's place, their keys as they are",
    places: (sample) =>
      keyHeads(sample) < 2 ? [] : ofText(sample, /self_attn\.v_proj\.weight$/, headDim(sample) * keyHeads(sample)),
    bytes: (sample, key) => along(sample.source, key, inHeads(sample, key, 0), exchanged(0, keyHeads(sample) - 1)),
  }),
  {
    name: "keys-values-swapped",
    code: "TENSORS_SWAPPED",
    about: "keys and values in each other's place: they have one shape",
    keepsShapes: true,
    places: (sample) =>
      keysLike(sample, /\.k_proj\.weight$/).filter((key) => fits(sample, key, key.replace("k_proj", "v_proj"))),
    make: (sample, key) => exchangedTensors(sample, key, key.replace("k_proj", "v_proj")),
  },
  tensorKind({
    name: "attention-gate-exchanged",
    code: "HALVES_SWAPPED",
    alsoCodes: ["ROWS_REORDERED"],
    about: "gated attention: the gate before the queries of each head, not after them",
    places: gated,
    bytes(sample, key) {
      const [rows = 0, ...rest] = sample.source.tensors.get(key)!.shape;
      const head = headDim(sample);
      return along(sample.source, key, { shape: [rows / head / 2, 2, head, ...rest], axis: 1 }, exchanged(0, 1));
    },
  }),
  tensorKind({
    name: "attention-gate-as-blocks",
    code: "ROWS_REORDERED",
    alsoCodes: ["HALVES_INTERLEAVED", "FUSED_SPLIT"],
    about: "gated attention: all queries and then all gates, where each head has its own",
    places: (sample) => (queryHeads(sample) < 2 ? [] : gated(sample)),
    bytes(sample, key) {
      const heads = queryHeads(sample);
      return along(sample.source, key, inHeads(sample, key, 0), regrouped(heads, 2));
    },
  }),
];

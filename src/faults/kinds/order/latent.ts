// Latent attention (MLA): what is concatenated in its projections, split in another order.
import type { Sample } from "../../fault.ts";
import { along, parts, regrouped } from "../axes.ts";
import { type Kind, tensorKind } from "../kind.ts";
import { keysLike, numberOf, queryHeads, textConfig } from "../names.ts";

interface LatentSizes {
  /** Channels that do not turn, those that do, those of values. */
  readonly still: number;
  readonly turning: number;
  readonly value: number;
  readonly rank: number;
}

function sizesOf({ config }: Sample): LatentSizes {
  const text = textConfig(config);
  const [still, turning, value, rank] = ["qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "kv_lora_rank"].map(
    (field) => numberOf(text, [field]),
  );
  return { still: still!, turning: turning!, value: value!, rank: rank! };
}

const latent = (sample: Sample, pattern: RegExp): string[] =>
  sizesOf(sample).rank > 0 ? keysLike(sample, pattern) : [];

/** The parts of each head of a projection in another order. */
function inEachHead(sample: Sample, key: string, sizes: readonly number[], order: readonly number[]): Uint8Array {
  const [rows = 0, ...rest] = sample.source.tensors.get(key)!.shape;
  const head = sizes.reduce((sum, size) => sum + size, 0);
  return along(sample.source, key, { shape: [rows / head, head, ...rest], axis: 1 }, parts(sizes, order));
}

const SPLIT = { code: "ROWS_REORDERED", alsoCodes: ["FUSED_SPLIT", "HALVES_SWAPPED"] } as const;

export const LATENT: readonly Kind[] = [
  tensorKind({
    name: "latent-kv-a-rope-first",
    ...SPLIT,
    about: "the shared rotary key before the compressed keys and values, not after them",
    places: (sample) => latent(sample, /\.kv_a_proj_with_mqa\.weight$/),
    bytes(sample, key) {
      const { rank, turning } = sizesOf(sample);
      return inEachHead(sample, key, [rank, turning], [1, 0]);
    },
  }),
  tensorKind({
    name: "latent-kv-b-values-first",
    ...SPLIT,
    about: "values before keys in each head of the projection up",
    places: (sample) => latent(sample, /\.kv_b_proj\.weight$/),
    bytes(sample, key) {
      const { still, value } = sizesOf(sample);
      return inEachHead(sample, key, [still, value], [1, 0]);
    },
  }),
  tensorKind({
    name: "latent-q-rope-first",
    ...SPLIT,
    about: "the rotary channels of each query head before those that do not turn",
    places: (sample) => latent(sample, /\.q_b_proj\.weight$|self_attn\.q_proj\.weight$/),
    bytes(sample, key) {
      const { still, turning } = sizesOf(sample);
      return inEachHead(sample, key, [still, turning], [1, 0]);
    },
  }),
  tensorKind({
    name: "latent-kv-b-as-blocks",
    ...SPLIT,
    about: "the keys of all heads and then all values, where each head has its own",
    places: (sample) => (queryHeads(sample) > 1 ? latent(sample, /\.kv_b_proj\.weight$/) : []),
    bytes(sample, key) {
      const { still, value } = sizesOf(sample);
      const heads = queryHeads(sample);
      const order = parts(
        Array.from({ length: 2 * heads }, (_, i) => (i % 2 === 0 ? still : value)),
        Array.from({ length: 2 * heads }, (_, i) => regrouped(heads, 2)(i, 0)),
      );
      return along(sample.source, key, { axis: 0 }, order);
    },
  }),
];

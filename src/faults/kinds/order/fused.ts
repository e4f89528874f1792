// Queries, keys and values in one tensor: split in another order, or grouped in another way.
import type { Sample } from "../../fault.ts";
import { along, exchanged, parts } from "../axes.ts";
import { type Kind, tensorKind } from "../kind.ts";
import { headDim, isVision, keyHeads, keysLike, numberOf, queryHeads, visionConfig } from "../names.ts";

type Part = "q" | "k" | "v";

interface FusedHeads {
  /** Rows of a head. */
  readonly head: number;
  /** Heads of queries, and of keys and values each. */
  readonly heads: readonly [q: number, k: number];
  /** Whether each head has its q, k and v together; else all queries come first. */
  readonly byHead: boolean;
  readonly part: (row: number) => Part;
}

const FUSED = /\.(?:qkv|wqkv|qkv_proj|query_key_value)\.weight$/;

export const visionHead = ({ config }: Sample): number => {
  const vision = visionConfig(config);
  if (vision === null) return 0;
  return numberOf(vision, ["hidden_size"]) / numberOf(vision, ["num_heads", "num_attention_heads"], 1);
};

/** Fused projections of plain attention. */
export const fusedKeys = (sample: Sample): string[] => keysLike(sample, FUSED);

export function fusedHeads(sample: Sample, key: string): FusedHeads {
  const rows = sample.source.tensors.get(key)!.shape[0]!;
  const head = isVision(key) ? visionHead(sample) : headDim(sample);
  const q = isVision(key) ? rows / head / 3 : queryHeads(sample);
  const k = isVision(key) ? q : keyHeads(sample);
  const byHead = /query_key_value/.test(key);
  const part = (row: number): Part => {
    const at = Math.floor(row / head);
    if (byHead) return at % 3 === 0 ? "q" : at % 3 === 1 ? "k" : "v";
    return at < q ? "q" : at < q + k ? "k" : "v";
  };
  return { head, heads: [q, k], byHead, part };
}

const blocksOf = (sample: Sample, key: string) => {
  const { head, heads, byHead } = fusedHeads(sample, key);
  const [rows = 0, ...rest] = sample.source.tensors.get(key)!.shape;
  return { shape: [rows / head, head, ...rest], heads, byHead };
};

/** By blocks of a head: where all come first that are queries, the order where each group has its own, and back. */
function otherGrouping([q, k]: readonly [number, number], byHead: boolean): readonly number[] {
  const each = q / k;
  const grouped = Array.from({ length: k }, (_, g) => [
    ...Array.from({ length: each }, (_, i) => g * each + i),
    q + g,
    q + k + g,
  ]).flat();
  if (!byHead) return grouped;
  return Array.from({ length: grouped.length }, (_, at) => grouped.indexOf(at));
}

export const FUSED_KINDS: readonly Kind[] = [
  tensorKind({
    name: "fused-qkv-kv-exchanged",
    code: "FUSED_SPLIT",
    alsoCodes: ["ROWS_REORDERED", "HALVES_SWAPPED"],
    about: "a fused projection split as q, v, k: keys and values have one shape",
    places: fusedKeys,
    bytes(sample, key) {
      const { shape, heads, byHead } = blocksOf(sample, key);
      const [q, k] = heads;
      if (byHead)
        return along(sample.source, key, { shape: [q, 3, shape[1]!, ...shape.slice(2)], axis: 1 }, exchanged(1, 2));
      return along(sample.source, key, { shape, axis: 0 }, parts([q, k, k], [0, 2, 1]));
    },
  }),
  tensorKind({
    name: "fused-qkv-order",
    code: "FUSED_SPLIT",
    alsoCodes: ["ROWS_REORDERED"],
    about: "a fused projection concatenated as k, v, q",
    places: (sample) => fusedKeys(sample).filter((key) => !fusedHeads(sample, key).byHead),
    bytes(sample, key) {
      const { shape, heads } = blocksOf(sample, key);
      const [q, k] = heads;
      return along(sample.source, key, { shape, axis: 0 }, parts([q, k, k], [1, 2, 0]));
    },
  }),
  tensorKind({
    name: "fused-qkv-grouping",
    code: "FUSED_SPLIT",
    alsoCodes: ["ROWS_REORDERED"],
    about: "a fused projection grouped by head where all queries come first, or the other way round",
    places: (sample) => fusedKeys(sample).filter((key) => fusedHeads(sample, key).heads[1] > 1),
    bytes(sample, key) {
      const { shape, heads, byHead } = blocksOf(sample, key);
      const order = otherGrouping(heads, byHead);
      return along(sample.source, key, { shape, axis: 0 }, (block) => order[block]!);
    },
  }),
];

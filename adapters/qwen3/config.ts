import type { RopeSpec } from "../../numerics/rope.ts";

/** Sizes in elements, lengths in tokens. */
export interface Qwen3Config {
  readonly nLayers: number;
  readonly vocabSize: number;
  readonly dim: number;
  readonly ffnDim: number;
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  readonly normEps: number;
  /** The output head is the embedding. */
  readonly tied: boolean;
  readonly rope: RopeSpec;
  /** Biases of q, k, v and o. */
  readonly attentionBias: boolean;
  readonly maxPositions: number;
  /** One entry a layer: tokens that a position sees, itself included; null for all before it. */
  readonly windows: readonly (number | null)[];
  /** As HF spells it (`bfloat16`); null where the config is silent. */
  readonly dtype: string | null;
}

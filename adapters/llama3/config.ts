import type { RopeSpec } from "../../numerics/rope.ts";

/** Sizes in elements, lengths in tokens. */
export interface Llama3Config {
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
  /** Biases of gate, up and down. */
  readonly mlpBias: boolean;
  readonly maxPositions: number;
  /** As HF spells it (`bfloat16`); null where the config is silent. */
  readonly dtype: string | null;
}

// The input of a parity run, and how its report describes it.

import type { ForwardInput } from "../../../numerics/graph.ts";
import type { PromptMetrics } from "../../../numerics/metrics.ts";
import type { VisionInput } from "../../family/family.ts";

/** What the report says of the input; the input itself stays inside. */
export interface ParityInputs {
  readonly kind: "ids" | "prompt" | "random" | "golden";
  readonly tokens: number;
  /** Of the token ids of all inputs one after the other, each as a little-endian I64, as `input_ids` has them. */
  readonly sha256: string;
  readonly images?: number;
  /** File, prompt or golden that the ids come from. */
  readonly source?: string;
  readonly seed?: number;
  /** Why there are more or fewer tokens than asked for, or more than the model was made for. */
  readonly note?: string;
  /** With several inputs, one entry each with its own results. The fields above then cover all of them. */
  readonly prompts?: readonly PromptReport[];
}

export interface PromptReport extends PromptMetrics {
  readonly kind: ParityInputs["kind"];
  readonly sha256: string;
  readonly source?: string;
  readonly images?: number;
  readonly note?: string;
}

export interface ResolvedInputs {
  readonly input: ForwardInput;
  readonly about: Omit<ParityInputs, "sha256">;
}

/** The model that the input is for. */
export interface InputLimits {
  readonly vocabSize: number;
  readonly maxPositions: number;
  readonly vision?: VisionInput | undefined;
}

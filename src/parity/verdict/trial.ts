// What a parity run is asked, and what it is run on.
import type { Backend } from "../../../numerics/backend.ts";
import type { StepOptions } from "../../base/steps.ts";
import type { SideCast } from "../casts.ts";
import type { Acceptance, RoutingChoice } from "../choices.ts";
import type { ForwardOptions } from "../forward/outcome.ts";
import type { Passes } from "../passes.ts";
import type { ParityModel } from "../side.ts";

export interface JudgeOptions extends ForwardOptions {
  readonly maxKlNats?: number | undefined;
  readonly minTop1?: number | undefined;
  /** Names the first divergence even where the verdict is `pass`. */
  readonly localise?: boolean | undefined;
  /** Known upstream differences that may stand; true for those that the family has measured as small. */
  readonly acceptKnown?: boolean | readonly Acceptance[] | undefined;
  /** Whether the second side takes the experts that the first one chose; free unless given. */
  readonly routing?: RoutingChoice | undefined;
  /** Whether known faults are undone on trial where nothing else explains why a golden differs, some seconds; true unless given. */
  readonly search?: boolean | undefined;
}

/** Which part of a run this is, and what it does that is done once. */
export interface Share {
  /** From 1 on. */
  readonly part: number;
  readonly parts: number;
  readonly measuresNoise: boolean;
  /** Whether this part compares a tensor of both sides bit for bit, by its Hugging Face key. */
  readonly owns: (key: string) => boolean;
}

/** What is judged. */
export interface Trial {
  readonly options: JudgeOptions;
  readonly sides: readonly ParityModel[];
  readonly passes: Passes;
  readonly backend: Backend;
  /** What lies between the types of the sides as they are stored; null where they are the same. */
  readonly cast: SideCast | null;
  /** Where this is a part of a run. */
  readonly share?: Share | undefined;
}

/** For steps that read weights. */
export const inBytes = ({ signal, onProgress }: JudgeOptions): StepOptions => ({
  ...(signal ? { signal } : {}),
  onProgress: (event) => onProgress?.(event),
});

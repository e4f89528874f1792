// What a part of a run leaves behind: everything that figures are made of, so that those of all parts are made of all of them.
import { type LogitRows, ROW_NAMES, ROW_NUMBERS } from "../../../numerics/logit-rows.ts";
import type { Cause } from "../../faults/cause.ts";
import type { PartNumber } from "../../output/parts/place.ts";
import type { RoutingOfInput } from "../forward/outcome.ts";
import type { ComputedOn } from "../forward/report.ts";
import type { ParityMemory } from "../memory.ts";
import type { NextTokens } from "../next-tokens.ts";
import type { NoiseFloor } from "../noise.ts";
import type { InputTaps } from "../pass-plans.ts";
import type { RawBits } from "../seen/bits.ts";
import type { Chosen } from "../seen/chosen.ts";
import type { Divergence } from "../verdict/divergence.ts";
import type { Evidence } from "../verdict/evidence.ts";
import type { KnownShare } from "../verdict/experiments.ts";
import type { Finding } from "../verdict/findings.ts";

/** Logits of a part's own rows, and hidden states. */
export interface PartFigures {
  readonly rows: LogitRows;
  readonly taps: readonly InputTaps[];
}

export interface PartResult extends PartNumber, PartFigures {
  /** Digest of the plan that it is a part of. */
  readonly plan: string;
  /** `tokens 0 to 171 of input 1`, `layers 4 to 7` */
  readonly covers: string;
  readonly routing: readonly RoutingOfInput[];
  readonly chosen: Chosen;
  readonly nextTokens: NextTokens;
  readonly noiseFloor: NoiseFloor | null;
  /** What rounding a golden's logits made of each own row, in nats; null where it is not of a narrow type. */
  readonly rounded: Float64Array | null;
  readonly bits: RawBits | null;
  readonly brokenTies: Evidence["brokenTies"];
  /** With the first known upstream difference undone, then with the second, too, … */
  readonly known: readonly (Omit<KnownShare, "klMeanNats"> & PartFigures)[];
  /** What this part found to be wrong, where, and what to try: by its own figures. */
  readonly causes: readonly Cause[];
  readonly divergence: Divergence | null;
  readonly verdict: "pass" | "fail";
  readonly findings: readonly Finding[];
  readonly nextSteps: readonly string[];
  readonly backend: ComputedOn;
  readonly memory: ParityMemory & { readonly backendPeakBytes: number };
  readonly peakRamBytes: number;
  readonly seconds: number;
}

/** Rows as they are written: numbers of each by name. */
export const rowsJson = ({ range, numbers, notes }: LogitRows) => ({
  range,
  numbers: Object.fromEntries(ROW_NAMES.map((name) => [name, numbers[name]])),
  notes,
});

/** Numbers that so many rows have by a name. */
export const countOf = (name: keyof typeof ROW_NUMBERS, rows: number): number => rows * ROW_NUMBERS[name];

// What all parts of a run have in common: what they are parts of, and what headers tell of it.
import type { LogitRows } from "../../../numerics/logit-rows.ts";
import type { PlanDocument } from "../../output/parts/documents.ts";
import type { Acceptance, RoutingChoice } from "../choices.ts";
import type { Head } from "../forward/run.ts";
import type { KnownCodes } from "../verdict/accepted.ts";
import type { Foreseen } from "../verdict/judge.ts";

/** How the run is judged. */
export interface Asked {
  readonly maxKlNats: number | null;
  readonly minTop1: number | null;
  readonly localise: boolean;
  readonly acceptances: readonly Acceptance[];
  readonly routing: RoutingChoice;
}

export interface PartPlan extends PlanDocument {
  readonly asked: Asked;
  /** Known differences of the family. */
  readonly codes: KnownCodes;
  /** The inputs of the run: the row where each begins among those of all. */
  readonly rows: LogitRows["inputs"];
  readonly foreseen: Foreseen;
  /** Of the run as the first part saw it: paths are those of its machine. */
  readonly head: Omit<Head, "backend" | "memory" | "peakRamBytes" | "seconds">;
}

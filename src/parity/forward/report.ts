// What a parity run is asked, and the document that it makes.
import type { BackendName } from "../../../numerics/capabilities.ts";
import type { Upstream } from "../../family/upstream.ts";
import type { Format } from "../../formats/checkpoint.ts";
import type { SharedBackend } from "../backend.ts";
import type { BackendChoice } from "../choices.ts";
import type { ParityInputs } from "../inputs/resolved.ts";
import type { InputRequests } from "../inputs/several.ts";
import type { ParityMemory } from "../memory.ts";
import type { ParityModel } from "../side.ts";
import type { Judgement } from "../verdict/judgement.ts";
import type { JudgeOptions } from "../verdict/trial.ts";
import type { VersionsReport } from "../versions.ts";

export interface ParityOptions extends JudgeOptions {
  readonly a: ParityModel;
  /** The other side; either this or `golden`. */
  readonly b?: ParityModel | undefined;
  /** Path of recorded logits. */
  readonly golden?: string | undefined;
  /** Random ids unless given; a golden brings its own. Metrics cover the tokens of all inputs. */
  readonly input?: InputRequests | undefined;
  /** Asks whether b is exactly the rounding of a to the types of b, and runs a in these. */
  readonly afterCast?: boolean | undefined;
  /** Begins each layer with the hidden states that the golden has, instead of those computed before it. */
  readonly byLayers?: boolean | undefined;
  readonly backend?: BackendChoice | undefined;
  /** Of several runs; whoever made it closes it. A backend of its own unless given. */
  readonly shared?: SharedBackend | undefined;
  readonly maxRamBytes?: number | undefined;
  /** Told what computes, before it does. */
  readonly onBackend?: (backend: ParityReport["backend"]) => void;
  /** Versions of upstream whose mathematics is run; else those of the HF side's config. */
  readonly upstream?: Partial<Upstream> | undefined;
}

export interface SideReport {
  readonly path: string;
  /** null for a golden. */
  readonly family: string | null;
  readonly layout: string | null;
  readonly format: Format;
  /** Element type of most weight values, as the forward pass reads them. */
  readonly dtype: string;
  /** The storage encoding that `dtype` is decoded from. */
  readonly encoding: string | null;
  /** How its files spell the keys, where it is not as the layout does. */
  readonly spelling?: readonly string[];
}

/** What computed, and why it did. */
export interface ComputedOn {
  readonly name: BackendName;
  readonly adapter: string | null;
  /** The native library that made large matrix products; absent where there was none. */
  readonly library?: string;
  readonly fallbackFrom?: string;
  readonly fallbackReason?: string;
  readonly choice?: string;
}

/** The JSON document of `parity` (CONTRACT). */
export interface ParityReport extends Omit<Judgement, "prompts"> {
  readonly inputs: ParityInputs;
  readonly upstream: VersionsReport;
  readonly backend: ComputedOn;
  readonly memory: ParityMemory & { readonly backendPeakBytes: number };
  readonly peakRamBytes: number;
  readonly seconds: number;
  /** Tensors that the forward pass does not need, with the reason. */
  readonly ignoredTensors: readonly { readonly key: string; readonly reason: string }[];
  /** Which one the other is measured against. */
  readonly reference: "a" | "b";
  readonly a: SideReport;
  readonly b: SideReport;
  /** Where several parts of a run were joined: what each of them saw. */
  readonly parts?: readonly PartReport[];
}

/** What one of the parts of a run covers, and what it saw by itself. */
export interface PartReport {
  /** From 1 on. */
  readonly part: number;
  readonly covers: string;
  /** Whether what it saw is within the limits of the whole. */
  readonly verdict: "pass" | "fail";
  /** Over its own tokens; null where it compared no logits. */
  readonly klMeanNats: number | null;
  /** The first tap of its own that differs by more than rounding; null where none does. */
  readonly firstDivergence: string | null;
  readonly backend: ComputedOn;
  readonly peakRamBytes: number;
  readonly seconds: number;
}

// Runs one or two checkpoints forward and compares their logits: proof that a conversion is right, not only invertible.
import type { BackendName } from "../../numerics/capabilities.ts";
import type { ForwardPlan } from "../../numerics/shapes/plan.ts";
import { InputError, UsageError } from "../base/errors.ts";
import type { Upstream } from "../family/upstream.ts";
import type { Format } from "../formats/checkpoint.ts";
import { checkArgument } from "../model/argument-kinds.ts";
import { decodedAlike } from "../views/decoded-alike.ts";
import { SharedBackend } from "./backend.ts";
import { afterCast, type Seen } from "./casts.ts";
import type { BackendChoice } from "./choices.ts";
import { openGolden } from "./inputs/golden.ts";
import { randomInputs } from "./inputs/random.ts";
import type { InputLimits, ParityInputs } from "./inputs/resolved.ts";
import { allInputs, describeInputs, type InputRequests, requestsOf } from "./inputs/several.ts";
import { checkRam, type ParityMemory, parityMemory } from "./memory.ts";
import { flopsOf } from "./pass-plans.ts";
import { Passes } from "./passes.ts";
import { isRoomFor, recordingBytes } from "./recording.ts";
import { type ParityModel, parityView, SideWeights } from "./side.ts";
import { acceptancesOf, checkCodes } from "./verdict/accepted.ts";
import { mayRunAgain } from "./verdict/experiments.ts";
import { judge } from "./verdict/judge.ts";
import type { Judgement } from "./verdict/judgement.ts";
import type { JudgeOptions, Trial } from "./verdict/trial.ts";
import { atVersions, type VersionsReport } from "./versions.ts";

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

/** The JSON document of `parity` (CONTRACT). */
export interface ParityReport extends Omit<Judgement, "prompts"> {
  readonly inputs: ParityInputs;
  readonly upstream: VersionsReport;
  readonly backend: {
    readonly name: BackendName;
    readonly adapter: string | null;
    /** The native library that made large matrix products; absent where there was none. */
    readonly library?: string;
    readonly fallbackFrom?: string;
    readonly fallbackReason?: string;
    readonly choice?: string;
  };
  readonly memory: ParityMemory & { readonly backendPeakBytes: number };
  readonly peakRamBytes: number;
  readonly seconds: number;
  /** Tensors that the forward pass does not need, with the reason. */
  readonly ignoredTensors: readonly { readonly key: string; readonly reason: string }[];
  /** Which one the other is measured against. */
  readonly reference: "a" | "b";
  readonly a: SideReport;
  readonly b: SideReport;
}

/**
 * @throws UsageError for a combination that means nothing; InputError where a checkpoint, the input or the golden is not
 * acceptable; EnvironmentError where the backend or the memory asked for is not there
 */
export async function runParity(options: ParityOptions): Promise<ParityReport> {
  checkUsage(options);
  const started = performance.now();
  const golden = options.golden === undefined ? null : openGolden(options.golden);
  try {
    const given = options.b === undefined ? [options.a] : [options.a, options.b];
    const { sides: chosen, report: upstream } = atVersions(given, options.upstream);
    checkCodes(acceptancesOf(options.acceptKnown), chosen);
    const views = chosen.map((model) => ({ model, view: parityView(model) }));
    const { sides: seen, cast } = afterCast(views, options.afterCast ?? false);
    const sides = seen.map(({ model }) => model);
    const weights = weightsOf(seen);
    const limits = limitsOf(sides);
    const inputs = await allInputs(options.input, limits, golden);
    const passes = new Passes({
      sides: weights,
      forwards: sides.map(({ layout }) => layout.forward()),
      golden,
      inputs,
      everyModality: limits.vision ? randomInputs({}, limits).input : null,
      pinned: options.routing === "pinned",
    });
    // Before a backend is started: whatever does not fit fails here.
    const plans = passes.plan(passes.forwards);
    const work = { flops: flopsOf(plans), mayMeasure: options.maxRamBytes === undefined };
    const shared = options.shared ?? new SharedBackend();
    try {
      const { backend, ...why } = await shared.open(options.backend ?? "auto", work);
      const { name, adapter, library } = backend;
      const computedOn = { name, adapter, ...(library === null ? {} : { library }), ...why };
      options.onBackend?.(computedOn);
      const trial = { options, sides, passes, backend, cast };
      const memory = reserve(options, trial, plans);
      const { prompts, ...judgement } = await judge(trial);
      return {
        ...judgement,
        inputs: describeInputs(inputs, prompts),
        upstream,
        backend: computedOn,
        memory: { ...memory, backendPeakBytes: backend.peakBytes },
        ignoredTensors: weights.flatMap(({ ignored }) => ignored),
        peakRamBytes: process.resourceUsage().maxRSS * 1024,
        seconds: (performance.now() - started) / 1000,
        reference: passes.reference === 0 ? "a" : "b",
        a: describe(sides[0]!, weights[0]!),
        b: sides[1] ? describe(sides[1], weights[1]!) : { ...GOLDEN_SIDE, path: golden!.path },
      };
    } finally {
      if (options.shared === undefined) await shared.close();
    }
  } finally {
    golden?.close();
  }
}

/** The memory that the run takes, with room for what the reference leaves behind where further runs may use it. */
function reserve(
  { maxRamBytes, routing }: ParityOptions,
  { sides, passes, backend: { capabilities } }: Trial,
  plans: readonly ForwardPlan[],
): ParityMemory {
  const inputs = passes.byInput(plans);
  const needed = inputs
    .map((sides) => parityMemory(capabilities, sides))
    .reduce((a, b) => (b.plannedBytes > a.plannedBytes ? b : a));
  checkRam(needed, maxRamBytes);
  // Pinned passes take each other's choices: none is what it would be beside another.
  if (sides.length === 1 || routing === "pinned" || !mayRunAgain(sides)) return needed;
  const reference = inputs.map((sides) => sides[passes.reference]!);
  const kept = recordingBytes(reference, capabilities.valueBytes);
  if (!isRoomFor(kept, needed.plannedBytes, maxRamBytes)) return needed;
  passes.keepReference(plans);
  return { ...needed, plannedBytes: needed.plannedBytes + kept };
}

function weightsOf(sides: readonly Seen[]): SideWeights[] {
  const [a, b] = sides;
  const alike = a && b ? decodedAlike([a.view, b.view]) : sides.map(({ view }) => view);
  return alike.map((view, i) => new SideWeights(sides[i]!.model, view));
}

const GOLDEN_SIDE = { family: null, layout: null, format: "safetensors", dtype: "F32", encoding: null } as const;

const describe = ({ checkpoint, family, layout, source, stored }: ParityModel, { dtype }: SideWeights): SideReport => ({
  path: checkpoint.path,
  family: family.family,
  layout: layout.name,
  format: checkpoint.format,
  dtype,
  encoding: [...new Set([...source.tensors.values()].flatMap(({ encoding }) => encoding ?? []))].join(", ") || null,
  ...(stored?.notes?.length ? { spelling: stored.notes } : {}),
});

function checkUsage({ a, b, golden, input, ...options }: ParityOptions): void {
  for (const model of b === undefined ? [a] : [a, b]) checkArgument("runParity", "Model", model);
  const fail = (message: string, help: string): never => {
    throw new UsageError("PARITY_USAGE", message, { help });
  };
  if (b === undefined && golden === undefined) fail("nothing to compare with", "give a second checkpoint or --golden");
  if (b !== undefined && golden !== undefined) {
    fail(
      "a second checkpoint and --golden exclude each other",
      "compare each checkpoint with the golden in its own run",
    );
  }
  if (golden !== undefined && options.afterCast) {
    fail("--after-cast is for two checkpoints", "compare the cast checkpoint with the one it was made of");
  }
  if (golden !== undefined && requestsOf(input).some(({ kind }) => kind !== "inputs")) {
    fail("a golden brings its own token ids", "leave out --ids, --prompt and --tokens");
  }
  if (golden !== undefined && requestsOf(input).length > 1) {
    fail("a golden is of one input", "compare with each golden in its own run");
  }
  if (b === undefined || a.family.family === b.family.family) return;
  throw new InputError("FAMILY_MISMATCH", `${a.family.family} and ${b.family.family} cannot be compared`, {
    file: b.checkpoint.path,
    expected: a.family.family,
    found: b.family.family,
    help: "compare two checkpoints of one model; --family settles a wrong detection",
  });
}

const limitsOf = (sides: readonly ParityModel[]): InputLimits => ({
  maxPositions: Math.min(...sides.map(({ family }) => family.maxPositions)),
  vocabSize: Math.min(...sides.map(({ family }) => family.vocabSize)),
  vision: sides[0]!.family.vision,
});

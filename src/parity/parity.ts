// Runs one or two checkpoints forward and compares their logits: proof that a conversion is right, not only invertible.
import type { Backend } from "../../numerics/backend.ts";
import type { ForwardInput } from "../../numerics/graph.ts";
import type { Metrics, NonFinite, Positions, PromptMetrics } from "../../numerics/metrics.ts";
import { InputError, UsageError } from "../base/errors.ts";
import type { Format } from "../formats/checkpoint.ts";
import { type BackendChoice, openBackend } from "./backend.ts";
import { type RunAgain, withoutKnown, withReferenceConfig } from "./experiments.ts";
import { Contest, type ForwardOptions, type ForwardOutcome, flopsOf } from "./forward.ts";
import { openGolden } from "./inputs/golden.ts";
import type { InputLimits, ParityInputs } from "./inputs/inputs.ts";
import { randomInputs } from "./inputs/random.ts";
import { allInputs, describeInputs, type InputRequests, requestsOf } from "./inputs/several.ts";
import { checkRam, type MemoryPlan, planMemory } from "./memory.ts";
import type { NextTokens } from "./next-tokens.ts";
import type { NoiseFloor } from "./noise.ts";
import { type RoutingReport, routingReport } from "./routing.ts";
import { type ParitySide, SideWeights } from "./side.ts";
import {
  type Cause,
  type ConfigDifference,
  compareConfigs,
  type Divergence,
  type Evidence,
  explain,
  type Finding,
  find,
  firstDivergence,
  isBeyondNoise,
  type Thresholds,
  thresholds,
} from "./verdict.ts";
import { weightFaults } from "./weights.ts";

export interface ParityOptions extends ForwardOptions {
  readonly a: ParitySide;
  /** The other side; either this or `golden`. */
  readonly b?: ParitySide | undefined;
  /** Path of recorded logits. */
  readonly golden?: string | undefined;
  /** Random ids unless given; a golden brings its own. Of several, the metrics are over all their tokens. */
  readonly input?: InputRequests | undefined;
  readonly backend?: BackendChoice | undefined;
  readonly maxKlNats?: number | undefined;
  readonly minTop1?: number | undefined;
  /** Names the first divergence even where the verdict is `pass`. */
  readonly localise?: boolean | undefined;
  /** Lets known upstream differences pass. */
  readonly acceptKnown?: boolean | undefined;
  readonly maxRamBytes?: number | undefined;
  /** Whether the second side takes the experts that the first one chose; free unless given. */
  readonly routing?: "free" | "pinned" | undefined;
}

export interface SideReport {
  readonly path: string;
  /** null for a golden. */
  readonly family: string | null;
  readonly layout: string | null;
  readonly format: Format;
  /** Of most values, as they are computed with. */
  readonly dtype: string;
  /** What weights are stored in that `dtype` is decoded from. */
  readonly encoding: string | null;
}

/** What the comparison came to. */
export interface Judgement {
  readonly verdict: "pass" | "fail";
  readonly verdictWithoutKnown: "pass" | "fail";
  /** Those that this config has, where the sides differ by more than rounding; each with its share of the mean KL. */
  readonly knownDifferences: readonly { readonly code: string; readonly klMeanNats: number; readonly source: string }[];
  /** The mean KL with all of them undone; null where there are none. */
  readonly klMeanNatsWithoutKnown: number | null;
  readonly metrics: Metrics;
  readonly positions: Positions;
  /** Each input on its own. */
  readonly prompts: readonly PromptMetrics[];
  readonly nextTokens: NextTokens;
  readonly nonFinite: { readonly first: NonFinite; readonly positions: number } | null;
  readonly thresholds: Thresholds;
  /** What rounding alone does on this backend. */
  readonly noiseFloor: NoiseFloor | null;
  /** Why the verdict is `fail`; empty for `pass`. */
  readonly findings: readonly Finding[];
  readonly configDifferences: readonly ConfigDifference[];
  readonly unusedTensors: readonly string[];
  /** Tensors that this input leaves out and another would not: a vision tower without images. */
  readonly unexercisedTensors: readonly string[];
  /** Null for a model without mixtures of experts. */
  readonly routing: RoutingReport | null;
  readonly firstDivergence: Divergence | null;
  readonly cause: Cause | null;
}

/** The JSON document of `parity` (CONTRACT). */
export interface ParityReport extends Omit<Judgement, "prompts"> {
  readonly inputs: ParityInputs;
  readonly backend: {
    readonly name: string;
    readonly adapter: string | null;
    /** The native library that made large matrix products; absent where there was none. */
    readonly library?: string;
    readonly fallbackFrom?: string;
    readonly fallbackReason?: string;
    readonly hint?: string;
  };
  readonly memory: MemoryPlan & { readonly backendPeakBytes: number };
  readonly peakRamBytes: number;
  readonly seconds: number;
  /** Tensors that the mathematics has no use for, with the reason. */
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
    const sides = options.b === undefined ? [options.a] : [options.a, options.b];
    const weights = sides.map((side) => new SideWeights(side));
    const inputs = await allInputs(options.input, limitsOf(sides), golden);
    const forwards = sides.map(({ family, layout }) => family.forward(layout));
    const pinned = options.routing === "pinned";
    const contest = new Contest(weights, forwards, golden, inputs, pinned);
    // Before a backend is started: whatever does not fit fails here.
    const plans = contest.plan(forwards);
    const { backend, ...fallback } = await openBackend(options.backend ?? "auto", flopsOf(plans));
    try {
      const memory = contest
        .byInput(plans)
        .map((sides) => planMemory(backend.name, sides))
        .reduce((a, b) => (b.plannedBytes > a.plannedBytes ? b : a));
      checkRam(memory, options.maxRamBytes);
      const { prompts, ...judgement } = await compare(options, sides, contest, backend);
      return {
        ...judgement,
        inputs: describeInputs(inputs, prompts),
        backend: {
          name: backend.name,
          adapter: backend.adapter,
          ...(backend.library === null ? {} : { library: backend.library }),
          ...fallback,
        },
        memory: { ...memory, backendPeakBytes: backend.peakBytes },
        ignoredTensors: weights.flatMap(({ ignored }) => ignored),
        peakRamBytes: process.resourceUsage().maxRSS * 1024,
        seconds: (performance.now() - started) / 1000,
        reference: contest.reference === 0 ? "a" : "b",
        a: describe(sides[0]!, weights[0]!),
        b: sides[1] ? describe(sides[1], weights[1]!) : { ...GOLDEN_SIDE, path: golden!.path },
      };
    } finally {
      await backend.close();
    }
  } finally {
    golden?.close();
  }
}

const GOLDEN_SIDE = { family: null, layout: null, format: "safetensors", dtype: "F32", encoding: null } as const;

const describe = ({ checkpoint, family, layout }: ParitySide, { dtype }: SideWeights): SideReport => ({
  path: checkpoint.path,
  family: family.family,
  layout,
  format: checkpoint.format,
  dtype,
  encoding: [...checkpoint.tensors.values()].find(({ encoding }) => encoding !== undefined)?.encoding ?? null,
});

function checkUsage({ a, b, golden, input }: ParityOptions): void {
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

const limitsOf = (sides: readonly ParitySide[]): InputLimits => ({
  maxPositions: Math.min(...sides.map(({ family }) => family.maxPositions)),
  vocabSize: Math.min(...sides.map(({ family }) => family.vocabSize)),
  vision: sides[0]!.family.vision,
});

/** Runs the forward passes, and where they differ runs them again in search of the reason. */
async function compare(
  options: ParityOptions,
  sides: readonly ParitySide[],
  contest: Contest,
  backend: Backend,
): Promise<Judgement> {
  const { signal, onProgress } = options;
  const { noiseFlops } = contest;
  const outcome = await contest.run(
    backend,
    sides.map(({ family, layout }) => family.forward(layout)),
    { ...options, onProgress: (event) => onProgress?.({ ...event, total: event.total + noiseFlops }) },
  );
  const flops = outcome.plans.reduce((sum, plan) => sum + plan.flops, 0);
  const noiseFloor = await contest.noise(backend, (done) => {
    signal?.throwIfAborted();
    onProgress?.({ label: "noise floor", done: flops + done, total: flops + noiseFlops });
  });
  const evidence = gather(options, contest, backend, outcome, noiseFloor);
  const all = find(evidence);
  const rerun: RunAgain = async (forwards) => {
    const { comparison, taps } = await contest.run(backend, forwards, { signal, onProgress });
    return { metrics: comparison.metrics(), taps };
  };
  const differs = all.some(({ code }) => code === "KL" || code === "TOP1" || code === "MTP");
  const known =
    differs || isBeyondNoise(evidence.metrics.klMeanNats, noiseFloor)
      ? await withoutKnown(sides, evidence, rerun)
      : null;
  const remaining = known === null ? all : find({ ...evidence, ...known.without });
  const sameConfig =
    evidence.configDifferences.length > 0 ? await withReferenceConfig(sides, contest.reference, rerun) : null;
  const findings = options.acceptKnown ? remaining : all;
  const divergence = firstDivergence(evidence);
  const isUnexplained = sides.length > 1 && remaining.length > 0 && evidence.configDifferences.length === 0;
  const weights = isUnexplained ? weightFaults(sides, contest.reference, divergence?.tensors ?? []) : [];
  return {
    verdict: findings.length === 0 ? "pass" : "fail",
    verdictWithoutKnown: remaining.length === 0 ? "pass" : "fail",
    knownDifferences: known?.shares.map(({ code, klMeanNats, source }) => ({ code, klMeanNats, source })) ?? [],
    klMeanNatsWithoutKnown: known?.without.metrics.klMeanNats ?? null,
    metrics: evidence.metrics,
    positions: outcome.comparison.positions(evidence.thresholds.klMeanNats),
    prompts: outcome.comparison.prompts(),
    nextTokens: outcome.nextTokens,
    nonFinite: evidence.nonFinite,
    thresholds: evidence.thresholds,
    noiseFloor,
    findings,
    configDifferences: evidence.configDifferences,
    unusedTensors: evidence.unusedTensors,
    unexercisedTensors: contest.unexercised(evidence.plans, everyModality(sides)),
    routing: routingReport(options.routing ?? "free", outcome.routing),
    firstDivergence: findings.length > 0 || options.localise ? divergence : null,
    cause:
      all.length === 0 ? null : explain(evidence, { known, resolved: remaining.length === 0, sameConfig, weights }),
  };
}

/** An input with images of a model that sees: with it and this run's, every tensor is read that any input reads. */
function everyModality(sides: readonly ParitySide[]): ForwardInput | null {
  const limits = limitsOf(sides);
  return limits.vision ? randomInputs({}, limits).input : null;
}

function gather(
  options: ParityOptions,
  contest: Contest,
  backend: Backend,
  outcome: ForwardOutcome,
  noise: NoiseFloor | null,
): Evidence {
  const { sides } = contest;
  const { a, b } = options;
  return {
    metrics: outcome.comparison.metrics(),
    nonFinite: outcome.comparison.nonFinite(),
    thresholds: thresholds(options, noise),
    taps: outcome.taps,
    plans: outcome.plans,
    configDifferences: b === undefined ? [] : compareConfigs(a.family, b.family),
    unusedTensors: contest.unused(outcome.plans, everyModality([a, ...(b ? [b] : [])])),
    brokenTies: sides.flatMap((side) => side.brokenTies()),
    exact: backend.name === "cpu",
    golden: b === undefined,
  };
}

// Runs one or two checkpoints forward and compares their logits: proof that a conversion is right, not only invertible.
import type { Backend } from "../../numerics/backend.ts";
import { type ForwardObserver, runForwards, type TapComparison } from "../../numerics/driver.ts";
import { LogitComparison, type Metrics, type NonFinite, type Positions } from "../../numerics/metrics.ts";
import type { ForwardPlan } from "../../numerics/shapes/plan.ts";
import { InputError, UsageError } from "../errors.ts";
import type { Format } from "../formats/checkpoint.ts";
import { type BackendChoice, openBackend } from "./parity-backend.ts";
import { checkGolden, type Golden, openGolden } from "./parity-golden.ts";
import { type InputRequest, type ParityInputs, type ResolvedInputs, resolveInputs } from "./parity-inputs.ts";
import { LogitFile } from "./parity-logits.ts";
import { checkRam, type MemoryPlan, planMemory } from "./parity-memory.ts";
import { type ParitySide, SideWeights } from "./parity-side.ts";
import {
  type Cause,
  type ConfigDifference,
  compareConfigs,
  type Divergence,
  type Finding,
  judge,
  type Thresholds,
} from "./parity-verdict.ts";

/** Until limits are measured: the mean KL, in nats per token, that passes. */
const DEFAULT_MAX_KL_NATS = 1e-8;

export interface ParityOptions {
  readonly a: ParitySide;
  /** The other side; either this or `golden`. */
  readonly b?: ParitySide;
  /** Path of recorded logits. */
  readonly golden?: string;
  /** Random ids unless given; a golden brings its own. */
  readonly input?: InputRequest;
  readonly backend?: BackendChoice;
  readonly maxKlNats?: number;
  readonly minTop1?: number;
  /** Path for the logits that the metrics are computed from. */
  readonly saveLogits?: string;
  /** Names the first divergence even where the verdict is `pass`. */
  readonly localise?: boolean;
  readonly maxRamBytes?: number;
  readonly signal?: AbortSignal;
  /** `done` and `total` in FLOPs. */
  readonly onProgress?: (event: { readonly label: string; readonly done: number; readonly total: number }) => void;
}

export interface SideReport {
  readonly path: string;
  readonly family: string | null;
  readonly layout: string | null;
  readonly format: Format;
  readonly dtype: string;
}

/** The JSON document of `parity` (CONTRACT). */
export interface ParityReport {
  readonly verdict: "pass" | "fail";
  readonly verdictWithoutKnown: "pass" | "fail";
  readonly knownDifferences: readonly { readonly code: string; readonly klMeanNats: number; readonly source: string }[];
  readonly metrics: Metrics;
  readonly positions: Positions;
  readonly nonFinite: { readonly first: NonFinite; readonly positions: number } | null;
  readonly thresholds: Thresholds;
  readonly noiseFloor: null;
  /** Why the verdict is `fail`; empty for `pass`. */
  readonly findings: readonly Finding[];
  readonly configDifferences: readonly ConfigDifference[];
  readonly unusedTensors: readonly string[];
  readonly inputs: ParityInputs;
  readonly backend: {
    readonly name: string;
    readonly adapter: string | null;
    readonly fallbackFrom?: string;
    readonly fallbackReason?: string;
  };
  readonly memory: MemoryPlan & { readonly backendPeakBytes: number };
  readonly peakRamBytes: number;
  readonly seconds: number;
  readonly reference: "a" | "b";
  readonly a: SideReport;
  readonly b: SideReport;
  readonly firstDivergence: Divergence | null;
  readonly cause: Cause | null;
}

/**
 * @throws UsageError for a combination that means nothing; InputError where a checkpoint, the input or the golden is not
 * acceptable; EnvironmentError where the backend or the memory asked for is not there
 */
export async function runParity(options: ParityOptions): Promise<ParityReport> {
  checkUsage(options);
  const golden = options.golden === undefined ? null : openGolden(options.golden);
  try {
    return await new ParityRun(options, golden).run();
  } finally {
    golden?.close();
  }
}

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
  if (golden !== undefined && input !== undefined && input.kind !== "inputs") {
    fail("a golden brings its own token ids", "leave out --ids, --prompt and --tokens");
  }
  if (b !== undefined && a.family.family !== b.family.family) {
    throw new InputError("FAMILY_MISMATCH", `${a.family.family} and ${b.family.family} cannot be compared`, {
      file: b.checkpoint.path,
      expected: a.family.family,
      found: b.family.family,
      help: "compare two checkpoints of one model; --family settles a wrong detection",
    });
  }
}

class ParityRun {
  private readonly started = performance.now();
  private readonly sides: readonly ParitySide[];
  private readonly weights: readonly SideWeights[];
  /** Index of the side that the other is measured against. */
  private readonly reference: 0 | 1;

  constructor(
    private readonly options: ParityOptions,
    private readonly golden: Golden | null,
  ) {
    const { a, b } = options;
    this.sides = b === undefined ? [a] : [a, b];
    this.weights = this.sides.map((side) => new SideWeights(side));
    this.reference = golden !== null || (b?.layout === "hf" && a.layout !== "hf") ? 1 : 0;
  }

  async run(): Promise<ParityReport> {
    const inputs = await this.inputs();
    const plans = this.weights.map((weights) => weights.plan(inputs.ids));
    const vocab = this.checkVocab(plans, inputs.ids);
    const opened = await openBackend(this.options.backend ?? "auto");
    const { backend, ...fallback } = opened;
    try {
      const memory = planMemory(backend.name, plans);
      checkRam(memory, this.options.maxRamBytes);
      const outcome = await this.forward(backend, inputs.ids, plans, vocab);
      return this.report(inputs, plans, outcome, {
        backend: { name: backend.name, adapter: backend.adapter, ...fallback },
        memory: { ...memory, backendPeakBytes: backend.peakBytes },
      });
    } finally {
      await backend.close();
    }
  }

  private async inputs(): Promise<ResolvedInputs> {
    const limits = {
      vocabSize: Math.min(...this.sides.map(({ family }) => family.vocabSize)),
      maxPositions: Math.min(...this.sides.map(({ family }) => family.maxPositions)),
    };
    if (this.golden === null) return resolveInputs(this.options.input ?? { kind: "random" }, limits);
    const { ids, path } = this.golden;
    if (this.options.input === undefined) {
      return { ids, about: { kind: "golden", tokens: ids.length, source: path } };
    }
    return resolveInputs(this.options.input, limits);
  }

  private checkVocab(plans: readonly ForwardPlan[], ids: readonly number[]): number {
    const [first, second] = plans.map((plan) => plan.logits[1]!);
    if (this.golden) checkGolden(this.golden, ids, first!);
    if (second !== undefined && second !== first) {
      throw new InputError("VOCAB_MISMATCH", "the two sides have vocabularies of different sizes", {
        file: this.options.b!.checkpoint.path,
        expected: `${first} logits`,
        found: `${second} logits`,
        help: "cut padded rows off the embedding and the head, and set vocab_size in the config",
      });
    }
    return first!;
  }

  private async forward(backend: Backend, ids: readonly number[], plans: readonly ForwardPlan[], vocab: number) {
    const { saveLogits, onProgress, signal } = this.options;
    const comparison = new LogitComparison(ids, vocab);
    const taps: TapComparison[] = [];
    const file = saveLogits === undefined ? null : new LogitFile(saveLogits, ids, vocab);
    const observer: ForwardObserver = {
      tap: (tap) => taps.push(tap),
      logits: (first, blocks) => {
        const a = blocks[0]!;
        const b = blocks[1] ?? this.golden!.rows(first, first + a.length / vocab);
        if (this.reference === 0) comparison.add(a, b);
        else comparison.add(b, a);
        file?.write(first, a, b);
      },
      progress: ({ tap, flops, totalFlops }) => {
        signal?.throwIfAborted();
        onProgress?.({ label: tap, done: flops, total: totalFlops });
      },
    };
    const sides = this.sides.map(({ family, layout }, i) => ({
      forward: family.forward(layout),
      plan: plans[i]!,
      weight: (key: string) => this.weights[i]!.weight(key),
    }));
    try {
      await runForwards(backend, sides, { ids_T: ids }, observer, this.reference);
      file?.finish();
    } catch (error) {
      file?.discard();
      throw error;
    }
    return { comparison, taps };
  }

  private report(
    { about }: ResolvedInputs,
    plans: readonly ForwardPlan[],
    { comparison, taps }: { readonly comparison: LogitComparison; readonly taps: readonly TapComparison[] },
    machine: Pick<ParityReport, "backend" | "memory">,
  ): ParityReport {
    const { a, b, golden, maxKlNats, minTop1, localise = false } = this.options;
    const thresholds: Thresholds = {
      klMeanNats: maxKlNats ?? DEFAULT_MAX_KL_NATS,
      top1: minTop1 ?? null,
      origin: maxKlNats === undefined && minTop1 === undefined ? "default" : "given",
    };
    const evidence = {
      metrics: comparison.metrics(),
      nonFinite: comparison.nonFinite(),
      thresholds,
      taps,
      plans,
      configDifferences: b === undefined ? [] : compareConfigs(a.family, b.family),
      unusedTensors: this.weights.flatMap((weights, i) => weights.unused(plans[i]!)),
      brokenTies: this.weights.flatMap((weights) => weights.brokenTies()),
      exact: machine.backend.name === "cpu",
      localise,
    };
    const { findings, firstDivergence, cause } = judge(evidence);
    const verdict = findings.length === 0 ? "pass" : "fail";
    const sideA = this.describe(0);
    return {
      verdict,
      verdictWithoutKnown: verdict,
      knownDifferences: [],
      metrics: evidence.metrics,
      positions: comparison.positions(thresholds.klMeanNats),
      nonFinite: evidence.nonFinite,
      thresholds,
      noiseFloor: null,
      findings,
      configDifferences: evidence.configDifferences,
      unusedTensors: evidence.unusedTensors,
      inputs: about,
      ...machine,
      peakRamBytes: process.resourceUsage().maxRSS * 1024,
      seconds: (performance.now() - this.started) / 1000,
      reference: this.reference === 0 ? "a" : "b",
      a: sideA,
      b:
        b === undefined
          ? { path: golden!, family: null, layout: null, format: "safetensors", dtype: "F32" }
          : this.describe(1),
      firstDivergence,
      cause,
    };
  }

  private describe(i: number): SideReport {
    const { checkpoint, family, layout } = this.sides[i]!;
    return {
      path: checkpoint.path,
      family: family.family,
      layout,
      format: checkpoint.format,
      dtype: this.weights[i]!.dtype,
    };
  }
}

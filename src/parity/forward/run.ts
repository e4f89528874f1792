// A parity run opened: sides, inputs, passes and a backend, before anything is computed.

import type { PromptMetrics } from "../../../numerics/metrics.ts";
import type { ForwardPlan } from "../../../numerics/shapes/plan.ts";
import { decodedAlike } from "../../views/decoded-alike.ts";
import { SharedBackend } from "../backend.ts";
import { afterCast, type Seen } from "../casts.ts";
import { type Golden, openGolden } from "../inputs/golden.ts";
import { randomInputs } from "../inputs/random.ts";
import type { InputLimits, ResolvedInputs } from "../inputs/resolved.ts";
import { allInputs, describeInputs } from "../inputs/several.ts";
import { checkRam, type ParityMemory, parityMemory } from "../memory.ts";
import { flopsOf } from "../pass-plans.ts";
import { Passes } from "../passes.ts";
import { isRoomFor, recordingBytes } from "../recording.ts";
import { type ParityModel, parityView, SideWeights } from "../side.ts";
import { acceptancesOf, checkCodes } from "../verdict/accepted.ts";
import { mayRunAgain } from "../verdict/experiments.ts";
import type { Share, Trial } from "../verdict/trial.ts";
import { atVersions, type VersionsReport } from "../versions.ts";
import type { ComputedOn, ParityOptions, ParityReport, SideReport } from "./report.ts";

/** What is known before a backend is opened. */
export interface Prepared {
  readonly sides: readonly ParityModel[];
  readonly passes: Passes;
  readonly inputs: readonly ResolvedInputs[];
  readonly golden: Golden | null;
  readonly cast: Trial["cast"];
  readonly upstream: VersionsReport;
}

export interface Run extends Prepared {
  readonly trial: Trial;
  readonly computedOn: ComputedOn;
  readonly memory: ParityMemory;
  readonly started: number;
}

/** What of a run is run. */
export interface Chosen {
  readonly passes: Passes;
  readonly share?: Share;
}

/**
 * @param choose tells what of the run is run here
 * @throws UsageError for codes that mean nothing; InputError where a checkpoint, the input or the golden is not acceptable;
 * EnvironmentError where the backend or the memory asked for is not there
 */
export async function withRun<T>(
  options: ParityOptions,
  choose: (prepared: Prepared) => Chosen,
  use: (run: Run) => Promise<T>,
): Promise<T> {
  const started = performance.now();
  const golden = options.golden === undefined ? null : openGolden(options.golden);
  try {
    const prepared = await prepare(options, golden);
    const { sides, cast } = prepared;
    // Before a backend is started: whatever does not fit fails here.
    const all = prepared.passes.plan(prepared.passes.forwards);
    const { passes, share } = choose(prepared);
    const plans = passes === prepared.passes ? all : passes.plan(passes.forwards);
    const shared = options.shared ?? new SharedBackend();
    try {
      const work = { flops: flopsOf(all), mayMeasure: options.maxRamBytes === undefined };
      const { backend, ...why } = await shared.open(options.backend ?? "auto", work);
      const { name, adapter, library } = backend;
      const computedOn = { name, adapter, ...(library === null ? {} : { library }), ...why };
      options.onBackend?.(computedOn);
      const trial = { options, sides, passes, backend, cast, share };
      const memory = reserve(options, trial, plans);
      return await use({ ...prepared, passes, trial, computedOn, memory, started });
    } finally {
      if (options.shared === undefined) await shared.close();
    }
  } finally {
    golden?.close();
  }
}

async function prepare(options: ParityOptions, golden: Golden | null): Promise<Prepared> {
  const given = options.b === undefined ? [options.a] : [options.a, options.b];
  const { sides: chosen, report: upstream } = atVersions(given, options.upstream);
  checkCodes(acceptancesOf(options.acceptKnown), chosen);
  const views = chosen.map((model) => ({ model, view: parityView(model) }));
  const { sides: seen, cast } = afterCast(views, options.afterCast ?? false);
  const sides = seen.map(({ model }) => model);
  const limits = limitsOf(sides);
  const inputs = await allInputs(options.input, limits, golden);
  const passes = new Passes({
    sides: weightsOf(seen),
    forwards: sides.map(({ layout }) => layout.forward()),
    golden,
    inputs,
    everyModality: limits.vision ? randomInputs({}, limits).input : null,
    pinned: options.routing === "pinned",
  });
  return { sides, passes, inputs, golden, cast, upstream };
}

/** What a report says of a run beside what it came to. */
export type Head = Pick<
  ParityReport,
  "inputs" | "upstream" | "backend" | "memory" | "ignoredTensors" | "peakRamBytes" | "seconds" | "reference" | "a" | "b"
>;

/** @param prompts figures of each input */
export function headOf(run: Run, prompts: readonly PromptMetrics[]): Head {
  const { sides, passes, inputs, golden, upstream, computedOn, memory, started } = run;
  const weights = passes.sides;
  return {
    inputs: describeInputs(inputs, prompts),
    upstream,
    backend: computedOn,
    memory: { ...memory, backendPeakBytes: run.trial.backend.peakBytes },
    ignoredTensors: weights.flatMap(({ ignored }) => ignored),
    peakRamBytes: process.resourceUsage().maxRSS * 1024,
    seconds: (performance.now() - started) / 1000,
    reference: passes.reference === 0 ? "a" : "b",
    a: describeSide(sides[0]!, weights[0]!),
    b: sides[1] ? describeSide(sides[1], weights[1]!) : { ...GOLDEN_SIDE, path: golden!.path },
  };
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

export const describeSide = (
  { checkpoint, family, layout, source, stored }: ParityModel,
  { dtype }: SideWeights,
): SideReport => ({
  path: checkpoint.path,
  family: family.family,
  layout: layout.name,
  format: checkpoint.format,
  dtype,
  encoding: [...new Set([...source.tensors.values()].flatMap(({ encoding }) => encoding ?? []))].join(", ") || null,
  ...(stored?.notes?.length ? { spelling: stored.notes } : {}),
});

const limitsOf = (sides: readonly ParityModel[]): InputLimits => ({
  maxPositions: Math.min(...sides.map(({ family }) => family.maxPositions)),
  vocabSize: Math.min(...sides.map(({ family }) => family.vocabSize)),
  vision: sides[0]!.family.vision,
});

// `parity --part i/n`: a part of a run on one machine, and what it leaves for whoever joins them.

import type { Metrics } from "../../../numerics/metrics.ts";
import { schemeOf } from "../../base/addresses.ts";
import { UsageError } from "../../base/errors.ts";
import { locate } from "../../formats/io/disk-folder.ts";
import type { Folder } from "../../formats/io/folder.ts";
import type { PartNumber } from "../../output/parts/place.ts";
import type { By } from "../choices.ts";
import type { ComputedOn, ParityOptions } from "../forward/report.ts";
import { type Chosen, headOf, type Prepared, type Run, withRun } from "../forward/run.ts";
import { checkUsage } from "../parity.ts";
import { acceptancesOf, codesOf } from "../verdict/accepted.ts";
import { conclude, type Foreseen, foresee, type Observed, observe } from "../verdict/judge.ts";
import type { Judgement } from "../verdict/judgement.ts";
import type { Share } from "../verdict/trial.ts";
import { cutByLayers, cutByTokens, startsOf } from "./cut.ts";
import { plansIn, refuseOthers, resultIn, writePlan, writeResult } from "./folder.ts";
import type { Asked, PartPlan } from "./plan.ts";
import type { PartResult } from "./result.ts";
import { type Divisible, shareOfTensors, sharesOfLayers, sharesOfTokens } from "./shares.ts";
import { type SharedWeights, sharedWeights } from "./standing.ts";
import { checkRecorded, stretchText } from "./stretches.ts";
import { planDocument } from "./terms.ts";

export interface PartOptions extends Omit<ParityOptions, "byLayers" | "saveLogits"> {
  readonly part: PartNumber;
  readonly by: By;
  /** Path of the folder in which the parts meet. */
  readonly into: string;
}

/** The JSON document of `parity --part i/n`: what this part saw by itself. */
export interface PartRun extends PartNumber {
  readonly verdict: "pass" | "fail";
  readonly by: By;
  readonly covers: string;
  /** Where it is written. */
  readonly folder: string;
  /** Whether it was there already, and nothing was run. */
  readonly wasThere: boolean;
  /** Over its own tokens; null where it compared no logits. */
  readonly metrics: Metrics | null;
  /** Of its own stretch of the pass, and over its own tokens. */
  readonly taps: readonly { readonly tap: string; readonly relativeRms: number }[];
  /** Tensors of its share, compared bit for bit; null beside a golden. */
  readonly weights: SharedWeights | null;
  /** Parts of the plan that are not in the folder yet. */
  readonly missing: readonly number[];
  readonly findings: Judgement["findings"];
  readonly firstDivergence: Judgement["firstDivergence"];
  readonly causes: Judgement["causes"];
  readonly backend: ComputedOn;
  readonly peakRamBytes: number;
  readonly seconds: number;
}

/**
 * @throws UsageError PARTS_TOO_MANY; InputError PARTS_OF_ANOTHER_PLAN before anything is computed; and as `runParity`
 */
export async function runPart({ part, by, into, ...given }: PartOptions): Promise<PartRun> {
  const options = { ...given, byLayers: by === "layers" };
  checkUsage(options);
  checkNumber(part);
  const folder = folderOf(into);
  const division = { by, parts: part.of, into, asked: askedOf(options) };
  let covers = "";
  const choose = (prepared: Prepared): Chosen => {
    const chosen = by === "tokens" ? tokensOf(prepared, part) : layersOf(prepared, part);
    covers = chosen.covers;
    return chosen;
  };
  return await withRun(options, choose, async (run) => {
    const foreseen = foresee(run.trial);
    const plan = planOf(run, foreseen, division);
    const there = folder === null ? [] : plansIn(folder);
    refuseOthers(into, plan, there);
    const own = there.find((each) => each.plan.plan === plan.plan);
    const done = own?.parts.find(({ number }) => number === part.number);
    if (own === undefined) writePlan(into, plan);
    const wasThere = done !== undefined;
    const result =
      done && folder ? resultIn(folder, done.name, plan) : await computed(run, foreseen, { plan, part, covers });
    if (!wasThere) writeResult(into, result);
    return { ...seenBy(result), by, covers, folder: into, wasThere, missing: missingFrom(into, plan) };
  });
}

/** Others may have ended meanwhile. */
function missingFrom(into: string, { plan, of }: PartPlan): number[] {
  const own = plansIn(locate(into).folder).find((each) => each.plan.plan === plan);
  const there = new Set(own?.parts.map(({ number }) => number));
  return Array.from({ length: of }, (_, i) => i + 1).filter((number) => !there.has(number));
}

/** By its own figures, which are kept with it. */
const seenBy = (result: PartResult) => {
  const { number, of, rows, taps, verdict, findings, divergence, causes, backend, peakRamBytes, seconds } = result;
  return {
    ...{ number, of, verdict, findings },
    weights: sharedWeights([result]),
    metrics: rows.length === 0 ? null : rows.metrics(),
    taps: taps.flatMap((input) => input.taps.map(({ tap, relativeRms }) => ({ tap, relativeRms }))),
    firstDivergence: divergence,
    ...{ causes, backend, peakRamBytes, seconds },
  };
};

/** Null where it is not there yet. */
function folderOf(into: string): Folder | null {
  const { folder, file } = schemeOf(into) === null ? locate(into) : NOWHERE;
  if (folder !== null && file === null) return folder;
  if (folder !== null && folder.kind(file!) === null) return null;
  throw new UsageError("PART_USAGE", `--into ${into}: not a folder that parts can be written to`, {
    expected: "a folder on a disk that all machines see, or a path that does not exist",
    found: folder === null ? "an address" : "a file",
    help: "give --into another folder; what is in it already stays",
  });
}

const NOWHERE = { folder: null, file: null };

function checkNumber({ number, of }: PartNumber): void {
  if (number >= 1 && number <= of) return;
  throw new UsageError("PART_NUMBER", `part ${number} of ${of}: there is no such part`, {
    expected: `1/${of} to ${of}/${of}`,
    found: `${number}/${of}`,
    help: `the first part is --part 1/${of}, the last --part ${of}/${of}`,
  });
}

const askedOf = ({ maxKlNats, minTop1, localise, acceptKnown, routing }: ParityOptions): Asked => ({
  maxKlNats: maxKlNats ?? null,
  minTop1: minTop1 ?? null,
  localise: localise ?? false,
  acceptances: acceptancesOf(acceptKnown),
  routing: routing ?? "free",
});

interface Covering extends Chosen {
  readonly covers: string;
}

function tokensOf({ passes, inputs }: Prepared, { number, of }: PartNumber): Covering {
  const plans = passes.byInput(passes.plan(passes.forwards));
  const divisible = inputs.map(
    ({ input }, i): Divisible => ({
      tokens: input.ids_T.length,
      flops: plans[i]!.reduce((sum, { flops }) => sum + flops, 0),
      isWhole: input.images !== undefined,
    }),
  );
  const range = sharesOfTokens(divisible, of)[number - 1]!;
  const { inputs: own, cut } = cutByTokens(inputs, range);
  const words = cut.inputs.map(({ prompt, counted: { begin, end } }) => {
    const positions = `tokens ${begin} to ${end - 1}`;
    return inputs.length === 1 ? positions : `${positions} of input ${prompt + 1}`;
  });
  const covers = words.length <= 2 ? words.join(", ") : `${words[0]} to ${words.at(-1)}`;
  return { passes: passes.part(own, cut), share: shareOf(passes, { number, of }, number === 1), covers };
}

function layersOf({ passes, inputs, golden }: Prepared, { number, of }: PartNumber): Covering {
  checkRecorded(golden!);
  const [plan] = passes.plan(passes.forwards);
  const restart = sharesOfLayers(plan!, [...golden!.taps.keys()], of)[number - 1]!;
  const share = shareOf(passes, { number, of }, number === of);
  return { passes: passes.part(inputs, cutByLayers(inputs, restart)), share, covers: stretchText(restart) };
}

function shareOf(passes: Prepared["passes"], { number, of }: PartNumber, measuresNoise: boolean): Share {
  const { tensors } = passes.sides[0]!.view.source;
  return { part: number, parts: of, measuresNoise, owns: shareOfTensors(tensors.values(), number, of) };
}

function planOf(run: Run, foreseen: Foreseen, division: Parameters<typeof planDocument>[1]): PartPlan {
  const { inputs, upstream, ignoredTensors, reference, a, b } = headOf(run, run.inputs.map(noFigures));
  return {
    ...planDocument(run, division),
    asked: division.asked,
    codes: codesOf(run.sides),
    rows: {
      starts: startsOf(run.inputs),
      rows: run.inputs.reduce((sum, { input }) => sum + input.ids_T.length, 0),
    },
    foreseen: {
      ...foreseen,
      plans: foreseen.plans.map(({ steps }) => ({ steps: steps.map(({ tap, weights }) => ({ tap, weights })) })),
    },
    head: { inputs, upstream, ignoredTensors, reference, a, b },
  };
}

/** Figures of an input come with the parts. */
const noFigures = ({ input }: Run["inputs"][number]) => ({
  tokens: input.ids_T.length,
  ...{ klMeanNats: 0, klMaxNats: 0, top1: 0 },
});

interface PartOfPlan {
  readonly plan: PartPlan;
  readonly part: PartNumber;
  readonly covers: string;
}

async function computed(run: Run, foreseen: Foreseen, { plan, part, covers }: PartOfPlan): Promise<PartResult> {
  const observed = await observe(run.trial, foreseen);
  const judgement = await conclude(run.trial, observed);
  const { backend, memory, peakRamBytes, seconds } = headOf(run, run.inputs.map(noFigures));
  const { verdict, findings, causes, firstDivergence: divergence, nextSteps } = judgement;
  return {
    plan: plan.plan,
    ...{ ...part, covers, verdict, findings, causes, divergence, nextSteps },
    ...measuredBy(run, observed),
    ...{ backend, memory, peakRamBytes, seconds },
  };
}

function measuredBy({ passes }: Run, { outcome, noiseFloor, bits, brokenTies, known }: Observed) {
  const runs = known?.runs ?? [];
  return {
    rows: outcome.comparison.rows(),
    taps: outcome.measured,
    routing: outcome.routing,
    chosen: outcome.chosen,
    nextTokens: outcome.nextTokens,
    noiseFloor,
    rounded: passes.roundedRows,
    bits,
    brokenTies,
    known: (known?.shares ?? []).map(({ code, source, explanation, fix }, i) => ({
      ...{ code, source, explanation, fix },
      rows: runs[i]!.rows,
      taps: runs[i]!.measured,
    })),
  };
}

// `finalize`: the parts of a parity joined. Figures are made of what all parts measured, as one run makes them.
import { InputError } from "../../base/errors.ts";
import { locate } from "../../formats/io/disk-folder.ts";
import type { ParityReport, PartReport } from "../forward/report.ts";
import { routingReport } from "../routing.ts";
import { coverageOf } from "../seen/coverage.ts";
import { knownUpstream } from "../verdict/causes/upstream.ts";
import { firstDivergence } from "../verdict/divergence.ts";
import type { Evidence } from "../verdict/evidence.ts";
import type { WithoutKnown } from "../verdict/experiments.ts";
import { judgementOf } from "../verdict/judgement.ts";
import { isBeyondTap, tapLimit, thresholds } from "../verdict/limits.ts";
import { isToBeExplained, type Settled, settle } from "../verdict/settle.ts";
import { anotherPlan, type PartsOfPlan, plansIn } from "./folder.ts";
import { joinedBits, joinedCauses, joinedChosen, joinedFigures, joinedRouting, tapsOf } from "./joined.ts";
import type { PartPlan } from "./plan.ts";
import type { PartFigures, PartResult } from "./result.ts";
import { missingParts, resultsThere, type Standing, standingOf } from "./standing.ts";

/**
 * Reads the folder alone: no model is opened.
 * @throws InputError PARTS_NONE, PARTS_MISSING, PARTS_OF_ANOTHER_PLAN, PARTS_DAMAGED
 */
export function joinParity(path: string): ParityReport {
  const { whole, standing } = standingAt(path);
  if (whole === null) throw missingParts(standing);
  return whole;
}

/**
 * What all parts come to, or where one is missing what those that are there say.
 * @throws InputError PARTS_NONE, PARTS_OF_ANOTHER_PLAN, PARTS_DAMAGED
 */
export function standingAt(
  path: string,
): { readonly whole: ParityReport; readonly standing: null } | { readonly whole: null; readonly standing: Standing } {
  const { folder, file } = locate(path);
  const own = theOnly(path, file === null ? plansIn(folder) : []);
  const { results, missing } = resultsThere(folder, own);
  if (missing.length === 0) return { whole: joined(own.plan, results), standing: null };
  return { whole: null, standing: standingOf(path, own.plan, results, missing) };
}

/** The plan of which there are parts. */
function theOnly(path: string, plans: readonly PartsOfPlan[]): PartsOfPlan {
  const begun = plans.filter(({ parts }) => parts.length > 0).toSorted((a, b) => b.parts.length - a.parts.length);
  const [own, other] = begun;
  if (own === undefined) {
    throw new InputError("PARTS_NONE", `${path}: no part of it is there`, {
      file: path,
      help: "run parity … --part 1/n --into FOLDER, and so on to n/n, then finalize that folder",
    });
  }
  if (other !== undefined) throw anotherPlan(path, other, own.plan);
  return own;
}

export function joined(plan: PartPlan, parts: readonly PartResult[]): ParityReport {
  const { foreseen, asked, head } = plan;
  const { outlook, goldenType, ...rest } = foreseen;
  const figures = joinedFigures(parts);
  const noiseFloor = parts.find((part) => part.noiseFloor !== null)?.noiseFloor ?? null;
  const chosen = joinedChosen(parts);
  const metrics = figures.rows.metrics();
  const evidence: Evidence = {
    ...rest,
    metrics,
    nonFinite: figures.rows.notes.nonFinite,
    thresholds: thresholds(
      { maxKlNats: asked.maxKlNats ?? undefined, minTop1: asked.minTop1 ?? undefined },
      noiseFloor,
    ),
    taps: tapsOf(figures, foreseen.golden),
    brokenTies: parts.flatMap(({ brokenTies }) => brokenTies),
    coverage: coverageOf(outlook, chosen, joinedBits(parts)),
    goldenRounding: goldenType && { type: goldenType, klMeanNats: meanOf(parts.map(({ rounded }) => rounded)) },
  };
  const known = isToBeExplained(evidence, noiseFloor) ? joinedKnown(plan, parts, evidence) : null;
  const settled = settle(evidence, known, { acceptances: asked.acceptances, codes: plan.codes });
  const { all, remaining, findings } = settled;
  const resolved = all.length > 0 && remaining.length === 0 ? knownUpstream({ evidence, known, remaining }) : [];
  const causes = remaining.length > 0 ? joinedCauses(parts) : resolved;
  const { prompts, ...judgement } = judgementOf(
    {
      ...{ evidence, noiseFloor, known, settled, causes },
      rows: figures.rows,
      nextTokens: parts.at(-1)!.nextTokens,
      routing: routingReport(asked.routing, joinedRouting(parts)),
      divergence: divergenceOf(settled, evidence, parts),
      search: null,
      nextSteps: findings.length > 0 && causes.length === 0 ? stepsOf(plan, parts) : [],
    },
    asked.localise,
  );
  const most = (of: (part: PartResult) => number) => Math.max(...parts.map(of));
  return {
    ...judgement,
    ...head,
    inputs: {
      ...head.inputs,
      ...(head.inputs.prompts && { prompts: head.inputs.prompts.map((prompt, i) => ({ ...prompt, ...prompts[i]! })) }),
    },
    backend: parts[0]!.backend,
    memory: {
      largestStepWeightBytes: most(({ memory }) => memory.largestStepWeightBytes),
      activationBytes: most(({ memory }) => memory.activationBytes),
      plannedBytes: most(({ memory }) => memory.plannedBytes),
      backendPeakBytes: most(({ memory }) => memory.backendPeakBytes),
    },
    peakRamBytes: most(({ peakRamBytes }) => peakRamBytes),
    seconds: parts.reduce((sum, { seconds }) => sum + seconds, 0),
    parts: parts.map((part) => reportOf(part, evidence, settled)),
  };
}

function meanOf(parts: readonly (Float64Array | null)[]): number | null {
  const all = parts.flatMap((values) => (values === null ? [] : [...values]));
  return all.length === 0 ? null : all.reduce((sum, x) => sum + x, 0) / all.length;
}

/** As one run undoes them, one after the other; null where there are none. */
function joinedKnown(plan: PartPlan, parts: readonly PartResult[], evidence: Evidence): WithoutKnown | null {
  let { metrics } = evidence;
  const shares = parts[0]!.known.map(({ code, source, explanation, fix }, i) => {
    const figures = joinedFigures(parts.map(({ known }) => known[i]!));
    const after = figures.rows.metrics();
    const share = { code, klMeanNats: metrics.klMeanNats - after.klMeanNats, source, explanation, fix };
    metrics = after;
    return { share, figures };
  });
  const last = shares.at(-1)?.figures;
  if (last === undefined) return null;
  const { golden, plans } = plan.foreseen;
  return { shares: shares.map(({ share }) => share), without: { metrics, taps: tapsOf(last, golden), plans } };
}

/** Where a part found the reason, the place is the one that it found behind it. */
function divergenceOf({ remaining, all, seen }: Settled, evidence: Evidence, parts: readonly PartResult[]) {
  const own = firstDivergence(all.length > 0 && remaining.length > 0 ? seen : evidence);
  if (remaining.length === 0) return own;
  const found = parts.find(({ causes, divergence }) => causes.length > 0 && divergence !== null)?.divergence ?? own;
  return found?.tap === own?.tap ? own : found;
}

function stepsOf({ foreseen }: PartPlan, parts: readonly PartResult[]): string[] {
  const steps = parts.flatMap(({ nextSteps }) => nextSteps);
  const hypotheses =
    foreseen.golden && !foreseen.isByLayers
      ? ["run it once more without --part: known faults are then undone on trial"]
      : [];
  return [...new Set([...hypotheses, ...steps])];
}

/** What a part saw, held against the limits of the whole. */
function reportOf(part: PartResult, { thresholds, exact, goldenTaps }: Evidence, { isAccepted }: Settled): PartReport {
  const { number, covers, backend, peakRamBytes, seconds, brokenTies } = part;
  const figures: PartFigures = isAccepted ? (part.known.at(-1) ?? part) : part;
  const metrics = figures.rows.length === 0 ? null : figures.rows.metrics();
  const taps = tapsOf(figures, true);
  const apart = taps.find(({ relativeRms }) => isBeyondTap(relativeRms, tapLimit(exact, goldenTaps)));
  const isOver = metrics !== null && !(metrics.klMeanNats <= thresholds.klMeanNats);
  const isWrong = isOver || figures.rows.notes.nonFinite !== null || brokenTies.length > 0;
  return {
    part: number,
    covers,
    verdict:
      isWrong || (metrics === null && apart !== undefined) || part.findings.some(({ code }) => code === "LAYERS")
        ? "fail"
        : "pass",
    klMeanNats: metrics?.klMeanNats ?? null,
    firstDivergence: apart?.tap ?? null,
    ...{ backend, peakRamBytes, seconds },
  };
}

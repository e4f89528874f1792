// What parts measured, put together: in the order of the parts, which is that of positions or of layers.
import { LogitRows } from "../../../numerics/logit-rows.ts";
import {
  joinedSums,
  type MeasuredTap,
  measured,
  type TapComparison,
  type TapSums,
} from "../../../numerics/tap-sums.ts";
import type { Cause } from "../../faults/cause.ts";
import { type InputTaps, worstTaps } from "../pass-plans.ts";
import type { RoutingComparison } from "../routing.ts";
import type { RawBits } from "../seen/bits.ts";
import type { Chosen } from "../seen/chosen.ts";
import type { PartFigures, PartResult } from "./result.ts";

export function joinedFigures(parts: readonly PartFigures[]): PartFigures {
  const withRows = parts.map(({ rows }) => rows).filter(({ length }) => length > 0);
  return { rows: LogitRows.joined(withRows), taps: joinedTaps(parts.map(({ taps }) => taps)) };
}

/** Of each input: sums of one tap on some tokens, then on those behind them; and taps of some layers, then of others. */
function joinedTaps(parts: readonly (readonly InputTaps[])[]): InputTaps[] {
  const inputs = new Map<number, Map<string, TapSums[]>>();
  for (const { prompt, taps } of parts.flat()) {
    const own = inputs.get(prompt) ?? new Map<string, TapSums[]>();
    inputs.set(prompt, own);
    for (const { tap, sums } of taps) own.set(tap, [...(own.get(tap) ?? []), sums]);
  }
  return [...inputs].map(([prompt, taps]) => ({
    prompt,
    taps: [...taps].map(([tap, sums]): MeasuredTap => measured(tap, joinedSums(sums))),
  }));
}

/** The largest error of each tap over the inputs; of two sides the logits', too. */
export function tapsOf({ rows, taps }: PartFigures, golden: boolean): TapComparison[] {
  const worst = worstTaps(taps.map((input) => input.taps));
  return golden ? worst : [...worst, { tap: "logits", relativeRms: rows.relativeRms() }];
}

export function joinedChosen(parts: readonly PartResult[]): Chosen {
  const all = new Map<string, Set<number>[]>();
  for (const [name, sides] of parts.flatMap(({ chosen }) => [...chosen])) {
    const known = all.get(name) ?? sides.map(() => new Set<number>());
    for (const [side, own] of sides.entries()) for (const expert of own) known[side]!.add(expert);
    all.set(name, known);
  }
  return all;
}

export function joinedBits(parts: readonly PartResult[]): RawBits | null {
  const all = parts.flatMap(({ bits }) => bits ?? []);
  if (all.length === 0) return null;
  return {
    equal: all.reduce((sum, { equal }) => sum + equal, 0),
    rounded: all.reduce((sum, { rounded }) => sum + rounded, 0),
    different: all.flatMap(({ different }) => different),
  };
}

/** Of each mixture on each input. */
export function joinedRouting(parts: readonly PartResult[]): RoutingComparison[] {
  const all = new Map<string, { compared: RoutingComparison; readonly used: Set<number> }>();
  for (const { prompt, compared, used } of parts.flatMap(({ routing }) => routing)) {
    const name = `${prompt} ${compared.name}`;
    const known = all.get(name);
    if (known === undefined) all.set(name, { compared, used: new Set(used) });
    else {
      for (const expert of used) known.used.add(expert);
      known.compared = bothOf(known.compared, compared);
    }
  }
  return [...all.values()].map(({ compared, used }) => ({ ...compared, expertsUsed: used.size }));
}

function bothOf(a: RoutingComparison, b: RoutingComparison): RoutingComparison {
  const margins = [a.largestFlippedMargin, b.largestFlippedMargin].filter((margin) => margin !== null);
  return {
    ...a,
    tokens: a.tokens + b.tokens,
    flipped: a.flipped === null || b.flipped === null ? null : a.flipped + b.flipped,
    largestFlippedMargin: margins.length === 0 ? null : Math.max(...margins),
    smallestMargin: Math.min(a.smallestMargin, b.smallestMargin),
  };
}

/** Each reason once, with the tensors that any part named; in the words of the part that it shows most in. */
export function joinedCauses(parts: readonly PartResult[]): Cause[] {
  const all = new Map<string, Cause>();
  const klOf = ({ rows }: PartResult) => (rows.length === 0 ? 0 : rows.metrics().klMeanNats);
  const worstFirst = parts.toSorted((a, b) => klOf(b) - klOf(a));
  for (const cause of worstFirst.flatMap(({ causes, number }) => causes.map((each) => ofPart(each, number)))) {
    const name = `${cause.code} ${cause.fields}`;
    const known = all.get(name) ?? cause;
    all.set(name, { ...known, tensors: [...new Set([...known.tensors, ...cause.tensors])] });
  }
  return [...all.values()];
}

const ofPart = (cause: Cause, part: number): Cause => ({ ...cause, evidence: `in part ${part}: ${cause.evidence}` });

// What the parts of a parity that are there came to, while others are missing. It is no verdict on the model, and never a pass.
import { InputError } from "../../base/errors.ts";
import type { Folder } from "../../formats/io/folder.ts";
import { numbersText } from "../../output/parts/survey.ts";
import { type PartsOfPlan, resultIn } from "./folder.ts";
import type { PartPlan } from "./plan.ts";
import type { PartResult } from "./result.ts";
import { byOf } from "./terms.ts";

/** A part by its own figures: limits of the whole need all of them. */
export interface StandingPart {
  readonly part: number;
  /** Null while it is missing. */
  readonly covers: string | null;
  readonly verdict: "pass" | "fail" | "not checked";
  /** Why it failed. */
  readonly findings: readonly string[];
  /** Over its own tokens; null where it compared no logits. */
  readonly klMeanNats: number | null;
  /** The first tap that it names where it failed. */
  readonly firstDivergence: string | null;
}

/** The JSON document of `finalize --dry-run` where parts of a parity are missing. */
export interface Standing {
  readonly verdict: "fail";
  readonly path: string;
  /** What parts are of. */
  readonly by: string;
  readonly of: number;
  readonly missing: readonly number[];
  readonly parts: readonly StandingPart[];
  /** Those whose logits were compared, and all of the run. */
  readonly tokens: { readonly compared: number; readonly of: number };
  /** Tensors that were compared bit for bit; null beside a golden. */
  readonly weights: SharedWeights | null;
}

/** Of one part, or of several. */
export interface SharedWeights {
  readonly compared: number;
  /** Keys of those that differ by more than rounding. */
  readonly different: readonly string[];
}

/** Which parts of a plan are there, in their order, and which are not. @throws InputError PARTS_DAMAGED */
export function resultsThere(folder: Folder, { plan, parts }: PartsOfPlan) {
  const numbers = Array.from({ length: plan.of }, (_, i) => i + 1);
  const nameOf = (number: number) => parts.find((part) => part.number === number)?.name;
  return {
    results: numbers.flatMap((number) => {
      const name = nameOf(number);
      return name === undefined ? [] : [resultIn(folder, name, plan)];
    }),
    missing: numbers.filter((number) => nameOf(number) === undefined),
  };
}

export function standingOf(
  path: string,
  plan: PartPlan,
  results: readonly PartResult[],
  missing: readonly number[],
): Standing {
  return {
    verdict: "fail",
    path,
    by: byOf(plan),
    of: plan.of,
    missing,
    parts: [...results.map(standingPart), ...missing.map(missingPart)].toSorted((a, b) => a.part - b.part),
    tokens: { compared: results.reduce((sum, { rows }) => sum + rows.length, 0), of: plan.rows.rows },
    weights: sharedWeights(results),
  };
}

const standingPart = ({ number, covers, verdict, findings, rows, divergence }: PartResult): StandingPart => ({
  part: number,
  ...{ covers, verdict },
  findings: findings.map(({ message }) => message),
  klMeanNats: rows.length === 0 ? null : rows.metrics().klMeanNats,
  firstDivergence: divergence?.tap ?? null,
});

const missingPart = (part: number): StandingPart => ({
  part,
  covers: null,
  verdict: "not checked",
  findings: [],
  ...{ klMeanNats: null, firstDivergence: null },
});

export function sharedWeights(results: readonly PartResult[]): SharedWeights | null {
  const all = results.flatMap(({ bits }) => bits ?? []);
  if (all.length === 0) return null;
  return {
    compared: all.reduce((sum, { equal, rounded, different }) => sum + equal + rounded + different.length, 0),
    different: all.flatMap(({ different }) => different.map(({ key }) => key)),
  };
}

/** What is there is part of the error: a part that failed is not to wait for the others. */
export function missingParts({ path, of, missing, parts }: Standing): InputError {
  const named = (those: readonly StandingPart[]) => partsText(those.map(({ part }) => part));
  const failed = parts.filter(({ verdict }) => verdict === "fail");
  const passed = parts.filter(({ verdict }) => verdict === "pass");
  const states = [
    `${partsText(missing)} ${missing.length === 1 ? "is" : "are"} not there`,
    ...(passed.length === 0 ? [] : [`${named(passed)} passed`]),
    ...(failed.length === 0 ? [] : [`${named(failed)} failed: ${failed[0]!.findings[0]}`]),
  ];
  return new InputError("PARTS_MISSING", `${path}: ${missing.length} of ${of} parts are missing`, {
    file: path,
    expected: `parts 1 to ${of}`,
    found: states.join("; "),
    help: `run the same command with --part ${missing[0]}/${of}; what no part covers is not checked (finalize --dry-run shows what the others say)`,
  });
}

/** `part 3`, `parts 1-4 and 7` */
export const partsText = (numbers: readonly number[]): string =>
  `${numbers.length === 1 ? "part" : "parts"} ${numbersText(numbers.map((number) => ({ number })))}`;

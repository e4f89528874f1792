// Parts that were left for a target, as `clean` and `inspect` tell of them.
import { dirname, join } from "node:path";
import { writing } from "../staging-errors.ts";
import { readPart } from "./documents.ts";
import { foreignParts, partsHomeOf, removePartsHome } from "./place.ts";
import { numbersText, type PlanState, surveyParts, unfinishedText } from "./survey.ts";

/** What is there of the parts for a target. */
export interface LeftParts {
  /** The target that they were made for; null where nothing tells. */
  readonly target: string | null;
  /** `foreign`: the folder has what we do not make. `running`: one of them may still be written. */
  readonly state: "unfinished" | "running" | "foreign";
  /** That are written, of all parts. */
  readonly bytes: number;
  /** Which are done and which are not, in words. */
  readonly text: string;
}

/** @param touches as of `surveyParts` */
export function leftParts(home: string, touches: boolean): LeftParts {
  const plans = surveyOrNone(home, touches);
  const [first] = plans;
  const target = first === undefined ? null : join(dirname(home), first.target);
  const isOurs = foreignParts(home).length === 0 && (target === null || partsHomeOf(target) === home);
  const isRunning = plans.some(({ parts }) => parts.some(({ state }) => state === "running"));
  return {
    target,
    state: isOurs ? (isRunning ? "running" : "unfinished") : "foreign",
    bytes: plans.reduce((sum, plan) => sum + bytesOf(home, plan), 0),
    text: plans.map(textOf).join("; of another plan: ") || "no part is known",
  };
}

/** What is no document of ours tells nothing. */
function surveyOrNone(home: string, touches: boolean): PlanState[] {
  try {
    return surveyParts(home, touches);
  } catch {
    return [];
  }
}

function bytesOf(home: string, { plan, parts }: PlanState): number {
  const sizes = parts.map((part) => {
    if (part.state === "done") {
      const ranges = readPart(home, plan, part)?.ranges ?? [];
      return ranges.reduce((sum, { begin, end }) => sum + end - begin, 0);
    }
    const attempts = part.attempts.map(({ progress }) =>
      [...progress.values()].reduce((sum, each) => sum + each.bytes, 0),
    );
    return Math.max(0, ...attempts);
  });
  return sizes.reduce((sum, size) => sum + size, 0);
}

function textOf({ of, parts }: PlanState): string {
  const done = parts.filter(({ state }) => state === "done");
  const which = done.length === 0 ? "no part" : `${done.length === 1 ? "part" : "parts"} ${numbersText(done)}`;
  const rest = unfinishedText(parts);
  return `${which} of ${of} done${rest === null ? "" : `, ${rest}`}`;
}

/** Throws EnvironmentError where it cannot be removed. */
export const removeParts = (home: string): void => writing(home, () => removePartsHome(home));

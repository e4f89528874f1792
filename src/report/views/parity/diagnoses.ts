// What is wrong, where, and the way out: the block right beneath the verdict of a run that failed.
import { scientific } from "../../../parity/checks/check.ts";
import type { ParityReport } from "../../../parity/parity.ts";
import type { Diagnosis } from "../../document.ts";
import { someOf, tensorsText } from "./names.ts";

/** None for a run that passed: what it found is a note. */
export function diagnoses(report: ParityReport): Diagnosis[] {
  const { verdict, causes, firstDivergence, nextSteps } = report;
  if (verdict === "pass") return [];
  const parted = firstDivergence === null ? [] : [divergenceText(firstDivergence, causes.every(isUnplaced))];
  if (causes.length === 0) {
    return [{ code: null, cause: "no known fault explains it", places: parted, fixes: nextSteps }];
  }
  return causes.map(({ code, explanation, evidence, tensors, fields, fix }, i) => ({
    code,
    cause: explanation,
    evidence,
    places: [
      ...(fields.length > 0 ? [`config: ${someOf(fields, "fields")}`] : []),
      ...(tensors.length > 0 ? [tensorsText(tensors)] : []),
      ...(i === 0 ? parted : []),
    ],
    fixes: [fix],
  }));
}

const isUnplaced = ({ tensors, fields }: ParityReport["causes"][number]): boolean =>
  tensors.length === 0 && fields.length === 0;

/** @param withTensors whether nothing else names those that may be wrong */
export function divergenceText(
  { tap, added, inherited, tensors }: NonNullable<ParityReport["firstDivergence"]>,
  withTensors = true,
): string {
  const read = withTensors ? `; that step read ${someOf(tensors)}` : "";
  return `first difference at ${tap}: relative error ${scientific(added)} added, ${scientific(inherited)} inherited${read}`;
}

import type { Diagnosis, Fact } from "./document.ts";

/** What is wrong, where, and the way out, in the order in which a reader asks. Of several values the first has the label. */
export function diagnosisFacts({ code, cause, places, fixes, evidence }: Diagnosis): Fact[] {
  return [
    { label: "cause", value: code === null ? cause : `${code}: ${cause}` },
    ...places.map((value, i) => ({ label: i === 0 ? "place" : "", value })),
    ...fixes.map((value, i) => ({ label: i === 0 ? "fix" : "", value })),
    ...(evidence === undefined ? [] : [{ label: "evidence", value: evidence }]),
  ];
}

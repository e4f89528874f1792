// Whether tokens chose every expert: what is wrong with those that none chose, no logit shows.
import type { ExpertsOfLayer } from "../seen/experts.ts";
import { count, type Examine, some } from "./check.ts";

export const experts: Examine = ({ evidence: { coverage } }) => {
  const use = coverage.experts;
  if (use === null) return [];
  const name = "every expert is chosen by some token";
  if (use.notChosen === 0) return [{ name, status: "passed", detail: count(use.experts, "expert") }];
  const missing = `${use.notChosen.toLocaleString("en-US")} of ${count(use.experts, "expert")}`;
  const detail = `${missing} never chosen: ${some(use.layers.map(wordsOf))}`;
  return [{ name, status: "not checked", detail, caveat: `${missing} not run` }];
};

function wordsOf({ name, notChosen: { a, b } }: ExpertsOfLayer): string {
  if (b === null || `${a}` === `${b}`) return `${name}: ${ranges(a)}`;
  return `${name}: a ${ranges(a) || "none"}, b ${ranges(b) || "none"}`;
}

/** `0–3, 7`, a few of them. */
function ranges(numbers: readonly number[]): string {
  const runs: [number, number][] = [];
  for (const n of numbers) {
    const last = runs.at(-1);
    if (last?.[1] === n - 1) last[1] = n;
    else runs.push([n, n]);
  }
  return some(
    runs.map(([first, last]) => (first === last ? `${first}` : `${first}–${last}`)),
    8,
  );
}

// A check of a parity run: what it looks at, and what it came to.
import type { Check } from "../../base/check.ts";
import type { Evidence } from "../verdict/evidence.ts";
import type { WithoutKnown } from "../verdict/experiments.ts";
import type { Finding } from "../verdict/findings.ts";

/** In JSON, too, every check of a parity says more than its name. */
export interface ParityCheck extends Check {
  readonly detail: string;
  /** What a headline that says "the same" has to say beside it. */
  readonly caveat?: string;
}

/** What a run showed, and what the verdict was found from. */
export interface Run {
  readonly evidence: Evidence;
  /** Why the verdict is `fail`; empty for `pass`. */
  readonly findings: readonly Finding[];
  /** Known upstream differences, and a run with them undone; null where there are none. */
  readonly known: WithoutKnown | null;
  /** What is left of the findings with them undone. */
  readonly remaining: readonly Finding[];
  /** Whether it passes only because known differences are accepted. */
  readonly isAccepted: boolean;
}

/** The checks of one matter; none where the run has nothing of the kind. Says `not checked` where the run could not tell. */
export type Examine = (run: Run) => readonly ParityCheck[];

/** A check that fails by the findings of a code. @param held what is said where there are none */
export function byFindings(
  findings: readonly Finding[],
  code: Finding["code"],
  { name, held }: { readonly name: string; readonly held: string },
): ParityCheck {
  const failed = findings.filter((finding) => finding.code === code).map(({ message }) => message);
  return failed.length > 0
    ? { name, status: "failed", detail: failed.join("; ") }
    : { name, status: "passed", detail: held };
}

/** A few of a list that may have thousands: the JSON document has all. */
export function some(names: readonly string[], most = 4): string {
  const left = names.length - most;
  return left <= 1 ? names.join(", ") : `${names.slice(0, most).join(", ")} and ${count(left, "more")}`;
}

/** `1 token`, `1,024 tokens`. */
export const count = (n: number, one: string, many = one === "more" ? one : `${one}s`): string =>
  `${n.toLocaleString("en-US")} ${n === 1 ? one : many}`;

/** A size in scientific notation. A KL that f64 cannot tell from 0 may come out negative. */
export const scientific = (x: number): string => (x <= 0 ? "0" : x.toExponential(2));
export const percent = (x: number): string => `${(100 * x).toFixed(x === 1 ? 0 : 2)} %`;

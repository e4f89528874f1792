// What a card may claim: no more than what reports on these very files show. What none of them shows stands beside it.
import type { Check } from "../../base/check.ts";
import type { Bond, Evidence } from "../evidence/bind.ts";
import type { Run, Subject } from "../evidence/run.ts";
import type { CardModel } from "./model.ts";
import { code, inline, withoutPaths } from "./text.ts";

/** What people want to know of a model that was converted, and what shows it. */
const QUESTIONS: readonly { readonly subject: Subject; readonly question: string; readonly by: string }[] = [
  { subject: "conversion", question: "what it was made of, and that no tensor was lost on the way", by: "convert" },
  { subject: "logits", question: "that it computes what its source computes", by: "parity, check or gate" },
  {
    subject: "identity",
    question: "that its weights are those of its source, bit for bit",
    by: "diff, match or check",
  },
  { subject: "round trip", question: "that the conversion can be undone", by: "roundtrip or check" },
  { subject: "values", question: "that its values are finite and initialised", by: "validate or check" },
];

const OF: Readonly<Record<Bond, string>> = { files: "", model: " of the same seal", source: " of the source" };

export function failedLines(evidence: readonly Evidence[]): string[] {
  return runsOf(evidence).flatMap(({ run, about }) => {
    if (run.verdict === "pass") return [];
    const checks = run.checks.filter(({ status }) => status === "failed").map(checkWords);
    return [`- **${inline(run.name)}**${about}${checks.length === 0 ? "" : `: ${checks.join("; ")}`}`];
  });
}

export function verifiedLines({ seal }: CardModel, evidence: readonly Evidence[]): string[] {
  const runs = runsOf(evidence).flatMap(({ run, about }) => {
    if (run.verdict !== "pass") return [];
    const held = run.checks.filter(({ status }) => status === "passed").map(({ name }) => inline(withoutPaths(name)));
    const figures = run.figures === null ? [] : [inline(run.figures)];
    const all = [...figures, ...held];
    return [`- **${inline(run.name)}**${about}${all.length === 0 ? "" : `: ${all.join("; ")}`}`];
  });
  const sealed = seal === null ? [] : [`- **seal**: the root above is that of the files as they were pushed`];
  const all = [...sealed, ...runs];
  return all.length === 0 ? ["Nothing."] : all;
}

export function notVerifiedLines({ seal }: CardModel, evidence: readonly Evidence[]): string[] {
  const runs = runsOf(evidence);
  const shown = new Set(runs.filter(({ run }) => run.verdict === "pass").flatMap(({ run }) => [...run.subjects]));
  const open = QUESTIONS.filter(({ subject }) => !shown.has(subject)).map(
    ({ question, by }) => `- ${question}: no report of ${by} that passed was given`,
  );
  const seen = runs.flatMap(({ run, bond }) =>
    run.checks
      .filter(({ status }) => status === "not checked")
      .map((check) => `- ${inline(run.name)}${OF[bond]}: ${checkWords(check)}`),
  );
  const unsealed = seal === null ? ["- its identity: no seal was computed"] : [];
  const all = [...unsealed, ...open, ...new Set(seen)];
  return all.length === 0 ? ["Nothing that a report names."] : all;
}

interface Told {
  readonly run: Run;
  readonly bond: Bond;
  /** Which report it is, so that a reader can ask for it. */
  readonly about: string;
}

const runsOf = (evidence: readonly Evidence[]): Told[] =>
  evidence.flatMap(({ report: { time, version, sha256 }, bond, runs }) =>
    runs.map((run) => ({
      run,
      bond,
      about: `${OF[bond]} (${inline(time.slice(0, 10))}, version ${inline(version)}, ${sha256 === null ? "as they were written" : `report ${code(sha256.slice(0, 16))}`})`,
    })),
  );

const checkWords = ({ name, detail }: Check): string =>
  inline(withoutPaths(detail === undefined ? name : `${name}: ${detail}`));

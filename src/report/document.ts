// What a command found, in a form that every renderer understands. `views/` makes it of a command's result, `text.ts`
// prints it, the other renderers make --report files of it.

import type { Check } from "../base/check.ts";
import type { Header } from "./header.ts";
import type { Plot } from "./plots/plot.ts";

export type Verdict = "pass" | "fail" | "error";

export interface Fact {
  readonly label: string;
  readonly value: string;
}

export interface Table {
  readonly title: string;
  readonly columns: readonly { readonly name: string; readonly align?: "left" | "right" }[];
  readonly rows: readonly (readonly string[])[];
  /** Number of rows to show, from the first on; all unless given. Renderers may show fewer, never more. */
  readonly most?: number;
  /** Rows that are not even in `rows`: making a million for nobody takes long. */
  readonly unlisted?: number;
}

/** What a run that verified nothing is called instead of passed. */
export interface Outcome {
  readonly word: string;
  /** Whether a reader has to look at something: shown as a warning. */
  readonly isWarning: boolean;
}

/** What is wrong, where, and the way out: what is read right beneath the verdict. */
export interface Diagnosis {
  /** Public code of the cause, e.g. `ROPE_PERMUTED`; null where none was found. */
  readonly code: string | null;
  /** The reason, in a sentence; where none was found, that. */
  readonly cause: string;
  /** The numbers that show it. */
  readonly evidence?: string;
  /** Tensors, fields, and where the sides part first. */
  readonly places: readonly string[];
  /** What to do, in this order. */
  readonly fixes: readonly string[];
}

/** Fields of every report and of every section of one. */
interface Findings {
  /** What was run, e.g. `convert`, or of a section `parity step-1000 my-model`. */
  readonly title: string;
  readonly verdict: Verdict;
  /** One sentence: what came out. */
  readonly headline: string;
  /** The worst first; none where nothing is wrong. */
  readonly diagnoses?: readonly Diagnosis[];
  /** Pictures for a page; other formats leave them out. */
  readonly plots?: readonly Plot[];
  readonly facts: readonly Fact[];
  readonly checks: readonly Check[];
  readonly tables: readonly Table[];
  readonly notes: readonly string[];
  readonly seconds?: number;
}

/** One of several runs that a report is about: a suite of its own in JUnit. */
export interface Section extends Findings {
  /** Columns of the summary of all sections, e.g. the mean KL: the same labels in each. */
  readonly figures?: readonly Fact[];
}

export interface ReportDocument extends Findings {
  /** Added by whoever runs the command: views know results, not runs. */
  readonly header?: Header;
  /** Absent where checks were made: then the verdict is the word. */
  readonly outcome?: Outcome;
  readonly sections?: readonly Section[];
  /** What is printed in place of the report, where a command's result is a file that goes to stdout. */
  readonly printed?: string;
  /** The result with nothing left out: the JSON document of the contract. */
  readonly data: object;
}

// What a command found, in a form that every renderer understands. `text.ts` prints it, the others make --report files.

export type Verdict = "pass" | "fail" | "error";

export interface Check {
  readonly name: string;
  /** A skipped check is shown and never counts as a pass. */
  readonly status: "pass" | "fail" | "skipped";
  readonly detail?: string;
}

export interface Table {
  readonly title: string;
  readonly columns: readonly { readonly name: string; readonly align?: "left" | "right" }[];
  readonly rows: readonly (readonly string[])[];
}

export interface ReportDocument {
  /** What was run, e.g. `convert`. */
  readonly command: string;
  readonly verdict: Verdict;
  /** One sentence: what came out. */
  readonly headline: string;
  readonly facts: readonly { readonly label: string; readonly value: string }[];
  readonly checks: readonly Check[];
  readonly tables: readonly Table[];
  readonly notes: readonly string[];
  readonly seconds?: number;
}

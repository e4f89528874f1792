// The contents of a report of several runs: each with its verdict, its numbers and its cause.
import type { Section, Table } from "./document.ts";

/** Rows are in the order of the sections; the first two cells of each are its title and its verdict. */
export function summaryOf(sections: readonly Section[]): Table {
  const labels = [...new Set(sections.flatMap(({ figures = [] }) => figures.map(({ label }) => label)))];
  return {
    title: "Contents",
    columns: [
      { name: "run" },
      { name: "verdict" },
      { name: "cause" },
      ...labels.map((name) => ({ name, align: "right" as const })),
    ],
    rows: sections.map((section) => [
      section.title,
      section.verdict,
      causeOf(section),
      ...labels.map((label) => section.figures?.find((each) => each.label === label)?.value ?? ""),
    ]),
  };
}

function causeOf({ diagnoses = [], verdict, headline }: Section): string {
  const [first, ...more] = diagnoses;
  if (first === undefined) return verdict === "pass" ? "" : headline;
  return `${first.code ?? first.cause}${more.length > 0 ? ` and ${more.length} more` : ""}`;
}

// The contents of a page of several runs: each with its verdict, its numbers and its cause, and a link to it.
import type { Section } from "../document.ts";
import type { Block } from "../fit.ts";
import { cell, statusCell, table } from "./blocks.ts";
import { escaped } from "./escaped.ts";

export const anchorOf = (i: number): string => `section-${i + 1}`;

export function summaryBlock(sections: readonly Section[], h: string): Block {
  const labels = [...new Set(sections.flatMap(({ figures = [] }) => figures.map(({ label }) => label)))];
  const head = ["Run", "Verdict", ...labels, "Cause"].map((name, i) =>
    i > 1 && i <= labels.length + 1 ? `<th class="right">${escaped(name)}</th>` : `<th>${escaped(name)}</th>`,
  );
  const rows = sections.map((section, i) => {
    const { title, verdict, figures = [] } = section;
    const numbers = labels.map((label) => cell(figures.find((each) => each.label === label)?.value ?? "", "right"));
    const name = `<td><a href="#${anchorOf(i)}">${escaped(title)}</a></td>`;
    return `<tr>${name}${statusCell(verdict, verdict)}${numbers.join("")}${cell(causeOf(section))}</tr>`;
  });
  return table("Contents", `<${h}>Contents</${h}>`, head.join(""), rows);
}

function causeOf({ diagnoses = [], verdict, headline }: Section): string {
  const [first, ...more] = diagnoses;
  if (first === undefined) return verdict === "pass" ? "" : headline;
  return `${first.code ?? first.cause}${more.length > 0 ? ` and ${more.length} more` : ""}`;
}

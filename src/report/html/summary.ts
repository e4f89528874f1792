// The contents of a page of several runs, with a link to each.
import type { Section } from "../document.ts";
import type { Block } from "../fit.ts";
import { summaryOf } from "../summary.ts";
import { cell, headOf, statusCell, table } from "./blocks.ts";
import { escaped } from "./escaped.ts";

export const anchorOf = (i: number): string => `section-${i + 1}`;

export function summaryBlock(sections: readonly Section[], h: string): Block {
  const { title, columns, rows } = summaryOf(sections);
  const lines = rows.map(([name = "", verdict = "", ...others], i) => {
    const link = `<td><a href="#${anchorOf(i)}">${escaped(name)}</a></td>`;
    return `<tr>${link}${statusCell(verdict, verdict)}${others.map((text, c) => cell(text, columns[c + 2]?.align)).join("")}</tr>`;
  });
  return table(title, `<${h}>${title}</${h}>`, headOf(columns), lines);
}

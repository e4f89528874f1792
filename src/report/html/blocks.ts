// Pieces of a page: what is in a document, as HTML that a page may cut.
import type { Check } from "../../base/check.ts";
import { diagnosisFacts } from "../diagnosis.ts";
import type { Diagnosis, Fact, Table } from "../document.ts";
import { evidenceFacts, filesTable } from "../evidence.ts";
import { type Block, moreRows, shownChecks, shownRows } from "../fit.ts";
import type { Header } from "../header.ts";
import { escaped, LIMITS } from "./escaped.ts";

export const text = (begin: string): Block => ({ begin, rows: [], end: "", left: 0, more: () => "" });

const more = (what: string) => (left: number) => `<p class="notes">${moreRows(left, what)}</p>`;

/** @param tone class of the verdict */
export function diagnosisBlock(diagnosis: Diagnosis, tone: string): Block {
  const rows = diagnosisFacts(diagnosis).map(({ label, value }) => {
    const minor = label === "evidence" ? ' class="minor"' : "";
    return `<dt${minor}>${label}</dt><dd${minor}>${escaped(value)}</dd>`;
  });
  return text(`<div class="diagnosis ${tone}"><dl>${rows.join("")}</dl></div>`);
}

/** @param heading with its tag */
export const factBlock = (facts: readonly Fact[], heading: string): Block => ({
  begin: `${heading}<dl>`,
  rows: facts.map(({ label, value }) => `<dt>${escaped(label)}</dt><dd>${escaped(value)}</dd>`),
  end: "</dl>",
  left: 0,
  more: more("row"),
});

/** What has to be looked at comes first; those of one status keep their order. */
const URGENCY: Readonly<Record<Check["status"], number>> = { failed: 0, "not checked": 1, passed: 2 };

export function checkBlock(checks: readonly Check[], h: string): Block {
  const { shown, left } = shownChecks(checks, LIMITS.rows);
  const rows = shown
    .toSorted((a, b) => URGENCY[a.status] - URGENCY[b.status])
    .map(
      ({ name, status, detail }) =>
        `<tr>${cell(name)}${statusCell(status, status.replace(" ", "-"))}${cell(detail ?? "")}</tr>`,
    );
  const head = "<th>Check</th><th>Status</th><th>Detail</th>";
  return { ...table("Checks", `<${h}>Checks</${h}>`, head, rows, "scroll checks"), left, more: more("check") };
}

/** Closed until somebody asks. */
export function evidenceBlocks(header: Header): Block[] {
  const facts = factBlock(evidenceFacts(header), '<details class="evidence"><summary>Evidence</summary>');
  const files = filesTable(header);
  if (files.rows.length === 0) return [{ ...facts, end: `${facts.end}</details>` }];
  const table = tableBlock(files, "h3");
  return [facts, { ...table, end: `${table.end}</details>` }];
}

export const statusCell = (word: string, tone: string): string =>
  `<td class="${tone}"><span class="status">${escaped(word)}</span></td>`;

/** Open, and to be closed by who has seen enough of it. */
export function tableBlock(found: Table, h: string): Block {
  const { title, columns } = found;
  const { shown, left } = shownRows(found, LIMITS.rows);
  const rows = shown.map((row) => `<tr>${row.map((text, c) => cell(text, columns[c]?.align)).join("")}</tr>`);
  const block = table(title, `<details open><summary><${h}>${escaped(title)}</${h}></summary>`, headOf(columns), rows);
  return { ...block, end: `${block.end}</details>`, left };
}

export const headOf = (columns: Table["columns"]): string =>
  columns.map(({ name, align }) => `<th${align === "right" ? RIGHT : ""}>${escaped(name)}</th>`).join("");

const RIGHT = ' class="right"';
/** Characters of a sentence that a narrow page must not squeeze into a column of single words. */
const PROSE = 40;

export function cell(text: string, align: "left" | "right" = "left"): string {
  const isProse = text.length > PROSE && text.includes(" ");
  return `<td${align === "right" ? RIGHT : isProse ? ' class="prose"' : ""}>${escaped(text)}</td>`;
}

/** Who uses a keyboard can scroll a table that is wider than the page. */
export const table = (
  name: string,
  heading: string,
  head: string,
  rows: readonly string[],
  classes = "scroll",
): Block => ({
  begin: `${heading}<div class="${classes}" role="region" tabindex="0" aria-label="${escaped(name)}"><table><thead><tr>${head}</tr></thead><tbody>`,
  rows,
  end: "</tbody></table></div>",
  left: 0,
  more: more("row"),
});

export function noteBlock(notes: readonly string[], h: string): Block {
  const shown = notes.slice(0, LIMITS.rows);
  const rows = shown.map((note) => `<li>${escaped(note)}</li>`);
  const left = notes.length - shown.length;
  return { begin: `<${h}>Notes</${h}><ul class="notes">`, rows, end: "</ul>", left, more: more("note") };
}

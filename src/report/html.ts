import type { Check } from "../base/check.ts";
import type { Fact, ReportDocument, Section, Table } from "./document.ts";
import { visible } from "./escape.ts";
import { type Block, clipped, fitted, type Limits, moreRows, shownChecks, shownRows } from "./fit.ts";

const STYLE = `
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); --dim: color-mix(in srgb, currentColor 62%, transparent); }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2.5rem auto; padding: 0 1.25rem; }
header { border-left: .5rem solid var(--verdict); padding: .25rem 1rem; margin-bottom: 2rem; }
header:not(:first-child) { margin-top: 4rem; }
header p { margin: 0; font-size: 1.15rem; }
header :is(h1, h2) { font-size: 1rem; font-weight: 600; margin: 0; color: var(--dim); }
header b { color: var(--verdict); text-transform: uppercase; letter-spacing: .04em; }
h2, h3 { font-size: 1.05rem; margin: 2.25rem 0 .5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem 1.25rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: break-word; }
thead th { color: var(--dim); font-weight: 500; }
th, td { white-space: nowrap; } .prose { min-width: 10rem; white-space: normal; }
.right { text-align: right; }
.pass, .passed { --verdict: #1a7f37; } .fail, .failed, .error { --verdict: #cf222e; } .not-checked, .warning { --verdict: #9a6700; }
.done { --verdict: #0969da; }
@media (prefers-color-scheme: dark) {
  .pass, .passed { --verdict: #3fb950; } .fail, .failed, .error { --verdict: #ff7b72; } .not-checked, .warning { --verdict: #d29922; }
  .done { --verdict: #58a6ff; }
}
.status { color: var(--verdict); font-weight: 600; white-space: nowrap; }
.notes { color: var(--dim); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.5rem; }
dt { color: var(--dim); } dd { margin: 0; overflow-wrap: anywhere; }
`;

/** A browser takes a moment for more; an artifact store keeps it as it is. */
const LIMITS: Limits = { rows: 5_000, text: 10_000, bytes: 1_000_000 };

/** One page without scripts or outside resources: it opens from an artifact store as it is. */
export function renderHtml(document: ReportDocument): string {
  const { title } = document;
  const blocks = [
    ...findings(`convert-checkpoint ${title}`, document, 1),
    ...(document.sections ?? []).flatMap((section) => findings(section.title, section, 2)),
  ];
  const head = [
    '<!doctype html><html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    `<title>${escaped(title)}: ${badgeOf(document).word}</title><style>${STYLE}</style></head><body>\n`,
  ].join("\n");
  const end = "\n</body></html>\n";
  const bytes = LIMITS.bytes - head.length - end.length;
  return head + fitted(blocks, { bytes, between: "\n", rest: "<p>The rest is in the JSON report.</p>" }) + end;
}

/** Green is for what was verified. */
function badgeOf(found: ReportDocument | Section): { readonly word: string; readonly tone: string } {
  const outcome = "outcome" in found ? found.outcome : undefined;
  if (outcome === undefined) return { word: found.verdict, tone: found.verdict };
  return { word: outcome.word, tone: outcome.isWarning ? "warning" : "done" };
}

/** @param level of the heading */
function findings(title: string, found: ReportDocument | Section, level: 1 | 2): Block[] {
  const { headline, facts, checks, tables, notes } = found;
  const { word, tone } = badgeOf(found);
  const [h, below] = [`h${level}`, `h${level + 1}`];
  const blocks = [
    text(
      `<header class="${tone}"><${h}>${escaped(title)} · <b>${escaped(word)}</b></${h}><p>${escaped(headline)}</p></header>`,
    ),
  ];
  if (facts.length > 0) blocks.push(factBlock(facts));
  if (checks.length > 0) blocks.push(checkBlock(checks, below));
  for (const table of tables) if (table.rows.length > 0) blocks.push(tableBlock(table, below));
  if (notes.length > 0) blocks.push(noteBlock(notes, below));
  return blocks;
}

const text = (begin: string): Block => ({ begin, rows: [], end: "", left: 0, more: () => "" });

const factBlock = (facts: readonly Fact[]): Block => ({
  begin: "<dl>",
  rows: facts.map(({ label, value }) => `<dt>${escaped(label)}</dt><dd>${escaped(value)}</dd>`),
  end: "</dl>",
  left: 0,
  more: more("row"),
});

function checkBlock(checks: readonly Check[], h: string): Block {
  const { shown, left } = shownChecks(checks, LIMITS.rows);
  const rows = shown.map(
    ({ name, status, detail }) =>
      `<tr><td>${escaped(name)}</td><td class="${status.replace(" ", "-")}"><span class="status">${status}</span></td>${cell(detail ?? "")}</tr>`,
  );
  const head = "<th>Check</th><th>Status</th><th>Detail</th>";
  return { ...table(`<${h}>Checks</${h}>`, head, rows), left, more: more("check") };
}

function tableBlock(found: Table, h: string): Block {
  const { title, columns } = found;
  const { shown, left } = shownRows(found, LIMITS.rows);
  const head = columns.map(({ name, align }) => `<th${align === "right" ? RIGHT : ""}>${escaped(name)}</th>`).join("");
  const rows = shown.map((row) => `<tr>${row.map((text, c) => cell(text, columns[c]?.align)).join("")}</tr>`);
  return { ...table(`<${h}>${escaped(title)}</${h}>`, head, rows), left };
}

const RIGHT = ' class="right"';
/** Characters of a sentence that a narrow page must not squeeze into a column of single words. */
const PROSE = 40;

function cell(text: string, align: "left" | "right" = "left"): string {
  const isProse = text.length > PROSE && text.includes(" ");
  return `<td${align === "right" ? RIGHT : isProse ? ' class="prose"' : ""}>${escaped(text)}</td>`;
}

const table = (heading: string, head: string, rows: readonly string[]): Block => ({
  begin: `${heading}<div class="scroll"><table><thead><tr>${head}</tr></thead><tbody>`,
  rows,
  end: "</tbody></table></div>",
  left: 0,
  more: more("row"),
});

function noteBlock(notes: readonly string[], h: string): Block {
  const shown = notes.slice(0, LIMITS.rows);
  const rows = shown.map((note) => `<li>${escaped(note)}</li>`);
  const left = notes.length - shown.length;
  return { begin: `<${h}>Notes</${h}><ul class="notes">`, rows, end: "</ul>", left, more: more("note") };
}

const more = (what: string) => (left: number) => `<p class="notes">${moreRows(left, what)}</p>`;

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

const escaped = (name: string): string =>
  visible(clipped(name, LIMITS.text)).replace(/[&<>"']/g, (c) => ENTITIES[c] ?? c);

import type { ReportDocument, Table } from "./document.ts";

const STYLE = `
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); --dim: color-mix(in srgb, currentColor 62%, transparent); }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2.5rem auto; padding: 0 1.25rem; }
header { border-left: .5rem solid var(--verdict); padding: .25rem 1rem; margin-bottom: 2rem; }
header p { margin: 0; font-size: 1.15rem; }
h1 { font-size: 1rem; font-weight: 600; margin: 0; color: var(--dim); }
h1 b { color: var(--verdict); text-transform: uppercase; letter-spacing: .04em; }
h2 { font-size: 1.05rem; margin: 2.25rem 0 .5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem 1.25rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
thead th { color: var(--dim); font-weight: 500; }
th { white-space: nowrap; } td:first-child:not(:last-child) { overflow-wrap: normal; }
.right { text-align: right; }
.pass { --verdict: #1a7f37; } .fail, .error { --verdict: #cf222e; } .skipped { --verdict: #9a6700; }
.status { color: var(--verdict); font-weight: 600; }
.notes { color: var(--dim); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.5rem; }
dt { color: var(--dim); } dd { margin: 0; overflow-wrap: anywhere; }
`;

/** One page without scripts or outside resources: it opens from an artifact store as it is. */
export function renderHtml(document: ReportDocument): string {
  const { command, verdict, headline, facts, checks, tables, notes } = document;
  const blocks = [
    `<header class="${verdict}"><h1>convert-checkpoint ${escapeHtml(command)} · <b>${verdict}</b></h1><p>${escapeHtml(headline)}</p></header>`,
  ];
  if (facts.length > 0) {
    blocks.push(
      `<dl>${facts.map(({ label, value }) => `<dt>${escapeHtml(label)}</dt><dd>${escapeHtml(value)}</dd>`).join("")}</dl>`,
    );
  }
  if (checks.length > 0) blocks.push(renderChecks(checks));
  for (const table of tables) if (table.rows.length > 0) blocks.push(renderTable(table));
  if (notes.length > 0) {
    blocks.push(`<h2>Notes</h2><ul class="notes">${notes.map((note) => `<li>${escapeHtml(note)}</li>`).join("")}</ul>`);
  }
  return [
    '<!doctype html><html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    `<title>${escapeHtml(command)}: ${verdict}</title><style>${STYLE}</style></head><body>`,
    ...blocks,
    "</body></html>\n",
  ].join("\n");
}

function renderChecks(checks: ReportDocument["checks"]): string {
  const rows = checks.map(
    ({ name, status, detail }) =>
      `<tr><td>${escapeHtml(name)}</td><td class="${status}"><span class="status">${status}</span></td><td>${escapeHtml(detail ?? "")}</td></tr>`,
  );
  return `<h2>Checks</h2><div class="scroll"><table><thead><tr><th>Check</th><th>Status</th><th>Detail</th></tr></thead><tbody>${rows.join("")}</tbody></table></div>`;
}

function renderTable({ title, columns, rows }: Table): string {
  const classOf = (c: number) => (columns[c]?.align === "right" ? ' class="right"' : "");
  const head = columns.map(({ name }, c) => `<th${classOf(c)}>${escapeHtml(name)}</th>`).join("");
  const body = rows.map(
    (row) => `<tr>${row.map((cell, c) => `<td${classOf(c)}>${escapeHtml(cell)}</td>`).join("")}</tr>`,
  );
  return `<h2>${escapeHtml(title)}</h2><div class="scroll"><table><thead><tr>${head}</tr></thead><tbody>${body.join("")}</tbody></table></div>`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (c) => ENTITIES[c] ?? c);

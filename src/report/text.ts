import type { ReportDocument, Table, Verdict } from "./document.ts";

export interface TextStyle {
  readonly color: boolean;
}

const CODES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 } as const;
type Style = keyof typeof CODES;

const paint = (style: TextStyle, name: Style, text: string): string =>
  style.color ? `\u001b[${CODES[name]}m${text}\u001b[0m` : text;

const VERDICT_STYLE: Readonly<Record<Verdict, Style>> = { pass: "green", fail: "red", error: "red" };
const MARK = { pass: "✓", fail: "✗", skipped: "–" } as const;
const MARK_STYLE = { pass: "green", fail: "red", skipped: "yellow" } as const;

/** The document as lines for a terminal, ending in the verdict: a tail of the output says how it ended. */
export function renderText(document: ReportDocument, style: TextStyle): string {
  const blocks: string[] = [];
  if (document.facts.length > 0) blocks.push(renderFacts(document.facts, style));
  for (const table of document.tables) if (table.rows.length > 0) blocks.push(renderTable(table, style));
  if (document.checks.length > 0) {
    blocks.push(
      document.checks
        .map(
          ({ name, status, detail }) =>
            `${paint(style, MARK_STYLE[status], MARK[status])} ${name}${detail ? paint(style, "dim", `: ${detail}`) : ""}`,
        )
        .join("\n"),
    );
  }
  if (document.notes.length > 0) blocks.push(document.notes.map((note) => `note: ${note}`).join("\n"));
  blocks.push(paint(style, VERDICT_STYLE[document.verdict], document.headline));
  return `${blocks.join("\n\n")}\n`;
}

/** Labels and values in two columns. */
export function renderFacts(facts: ReportDocument["facts"], style: TextStyle): string {
  const width = Math.max(...facts.map(({ label }) => label.length));
  return facts.map(({ label, value }) => `${paint(style, "dim", label.padEnd(width))}  ${value}`).join("\n");
}

function renderTable({ title, columns, rows }: Table, style: TextStyle): string {
  const widths = columns.map(({ name }, c) => Math.max(name.length, ...rows.map((row) => (row[c] ?? "").length)));
  const line = (cells: readonly string[]) =>
    columns
      .map(({ align }, c) => {
        const cell = cells[c] ?? "";
        return align === "right" ? cell.padStart(widths[c] ?? 0) : cell.padEnd(widths[c] ?? 0);
      })
      .join("  ")
      .trimEnd();
  return [
    paint(style, "bold", title),
    paint(style, "dim", line(columns.map(({ name }) => name))),
    ...rows.map(line),
  ].join("\n");
}

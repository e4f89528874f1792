import type { Check } from "../base/check.ts";
import { fittedWidths, wrapped } from "./columns.ts";
import { diagnosisFacts } from "./diagnosis.ts";
import type { Fact, ReportDocument, Section, Table, Verdict } from "./document.ts";
import { visible } from "./escape.ts";
import { moreRows, shownRows } from "./fit.ts";
import { summaryOf } from "./summary.ts";

export interface TextStyle {
  readonly color: boolean;
  /** Width of the terminal that tables are fitted to; without it they are as wide as what is in them. */
  readonly columns?: number | undefined;
}

const CODES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 } as const;
type Style = keyof typeof CODES;

export const paint = (style: TextStyle, name: Style, text: string): string =>
  style.color ? `\u001b[${CODES[name]}m${text}\u001b[0m` : text;

const VERDICT_STYLE: Readonly<Record<Verdict, Style>> = { pass: "green", fail: "red", error: "red" };
const MARK = { passed: "✓", failed: "✗", "not checked": "–" } as const;
const MARK_STYLE = { passed: "green", failed: "red", "not checked": "yellow" } as const;

/**
 * The document as lines for a terminal. The verdict comes first with the reason for it, and once more at the end: a tail of the
 * output says how it ended. Tables have all rows, and off a terminal each row is one line: what is printed is searched with grep.
 */
export function renderText(document: ReportDocument, style: TextStyle = { color: false }): string {
  const sections = (document.sections ?? []).map(
    (section) => `${paint(style, "bold", visible(section.title))}\n\n${findings(section, style)}`,
  );
  const own = findings(document, style);
  if (sections.length === 0) return `${own}\n`;
  const top = [hanging("", document.headline, style, "bold"), renderTable(summaryOf(document.sections ?? []), style)];
  return `${[...top, ...sections, own].join("\n\n")}\n`;
}

/** Lines behind which a reader of the last one has lost sight of the first. */
const SCREENFUL = 12;

function findings(document: ReportDocument | Section, style: TextStyle): string {
  const { diagnoses = [], facts, tables, checks, notes, verdict, headline } = document;
  const blocks: string[] = [];
  if (checks.length > 0) blocks.push(checks.map((check) => renderCheck(check, style)).join("\n"));
  if (facts.length > 0) blocks.push(renderFacts(facts, style));
  for (const table of tables) if (table.rows.length > 0) blocks.push(renderTable(table, style));
  if (notes.length > 0) blocks.push(notes.map((note) => hanging("note: ", note, style)).join("\n"));
  const outcome = "outcome" in document ? document.outcome : undefined;
  const colour = outcome === undefined ? VERDICT_STYLE[verdict] : outcome.isWarning ? "yellow" : "bold";
  const last = paint(style, colour, visible(headline));
  const isLong = blocks.reduce((lines, block) => lines + block.split("\n", SCREENFUL).length, 0) >= SCREENFUL;
  const reasons = diagnoses.map((each) => renderFacts(diagnosisFacts(each), style));
  const first = diagnoses.length > 0 || isLong ? [hanging("", headline, style, colour), ...reasons] : [];
  return [...first, ...blocks, last].join("\n\n");
}

/** Labels and values in two columns. */
export function renderFacts(facts: readonly Fact[], style: TextStyle): string {
  const width = widthOf(facts.map(({ label }) => label));
  return facts.map(({ label, value }) => hanging(`${visible(label).padEnd(width)}  `, value, style)).join("\n");
}

/** Narrower than this, text beside a label is no text any more. */
const NARROWEST = 24;

/** A label and its text; on a terminal the text goes on below itself. */
function hanging(label: string, text: string, style: TextStyle, of?: Style): string {
  const painted = (line: string) => (of === undefined ? line : paint(style, of, line));
  const lines =
    style.columns === undefined
      ? [visible(text)]
      : wrapped(visible(text), Math.max(NARROWEST, style.columns - label.length));
  const head = label === "" ? "" : paint(style, "dim", label);
  return lines.map((line, i) => `${i === 0 ? head : " ".repeat(label.length)}${painted(line)}`).join("\n");
}

function renderCheck({ name, status, detail }: Check, style: TextStyle): string {
  const mark = paint(style, MARK_STYLE[status], MARK[status]);
  const [first = "", ...more] =
    style.columns === undefined ? [""] : wrapped(checkText({ name, detail }), style.columns - 2);
  if (more.length > 0) return [`${mark} ${first}`, ...more.map((line) => `  ${line}`)].join("\n");
  return `${mark} ${visible(name)}${detail ? paint(style, "dim", `: ${visible(detail)}`) : ""}`;
}

const checkText = ({ name, detail }: { readonly name: string; readonly detail: string | undefined }): string =>
  visible(detail ? `${name}: ${detail}` : name);

function renderTable(table: Table, style: TextStyle): string {
  const { title, columns } = table;
  const { shown, left } = shownRows(table, Number.POSITIVE_INFINITY);
  const cells = shown.map((row) => columns.map((_, c) => visible(row[c] ?? "")));
  const widths = columns.map(({ name }, c) => widthOf([name, ...cells.map((row) => row[c]!)]));
  const fixed = columns.map(({ align }) => align === "right");
  const fitted = style.columns === undefined ? widths : fittedWidths(widths, fixed, style.columns);
  const line = (row: readonly string[]) =>
    columns
      .map(({ align }, c) => (align === "right" ? row[c]!.padStart(fitted[c]!) : row[c]!.padEnd(fitted[c]!)))
      .join("  ")
      .trimEnd();
  const lines = (row: readonly string[]) => {
    if (fitted.every((width, c) => width === widths[c])) return line(row);
    const parts = row.map((text, c) => wrapped(text, fitted[c]!));
    const height = Math.max(...parts.map(({ length }) => length));
    return Array.from({ length: height }, (_, i) => line(parts.map((part) => part[i] ?? ""))).join("\n");
  };
  return [
    paint(style, "bold", visible(title)),
    paint(style, "dim", lines(columns.map(({ name }) => visible(name)))),
    ...cells.map(lines),
    ...(left > 0 ? [paint(style, "dim", moreRows(left))] : []),
  ].join("\n");
}

/** Columns align up to here; one hostile name must not widen every row of a hundred thousand to its own length. */
const WIDEST = 256;

/** No spread over rows: a call takes no more than some 125,000 arguments. */
function widthOf(cells: readonly string[]): number {
  let width = 0;
  for (const cell of cells) if (cell.length > width) width = cell.length;
  return Math.min(width, WIDEST);
}

import type { Check } from "../base/check.ts";
import type { Diagnosis, ReportDocument, Section, Table } from "./document.ts";
import { visible } from "./escape.ts";
import { evidenceFacts, filesTable } from "./evidence.ts";
import { type Block, clipped, fitted, type Limits, moreRows, shownChecks, shownRows } from "./fit.ts";
import type { Header } from "./header.ts";
import { summaryOf } from "./summary.ts";

/** GitHub takes 65,536 characters for a comment (and 1 MiB for a step summary); a frame of the user's own has to fit, too. */
const LIMITS: Limits = { rows: 100, text: 2_000, bytes: 60_000 };

const STATUS = { passed: "✅ passed", failed: "❌ failed", "not checked": "⚠️ not checked" } as const;

/** The report as GitHub-flavoured Markdown, short enough for a pull request comment or a step summary. */
export function renderMarkdown(document: ReportDocument): string {
  const { sections = [], header } = document;
  const [title, headline, ...rest] = findings(document.title, document, "#");
  const blocks = [
    ...[title!, headline!],
    ...(sections.length > 1 ? [contents(sections)] : []),
    ...rest,
    ...(header === undefined ? [] : evidence(header)),
    ...sections.flatMap((section) => findings(section.title, section, "##")),
  ];
  return `${fitted(blocks, { bytes: LIMITS.bytes, between: "\n\n", rest: "The rest is in the JSON report." })}\n`;
}

/** @param level of the heading */
function findings(title: string, found: ReportDocument | Section, level: string): Block[] {
  const { verdict, headline, diagnoses = [], facts, checks, tables, notes } = found;
  const word = "outcome" in found && found.outcome !== undefined ? found.outcome.word : verdict;
  const blocks = [text(`${level} ${escaped(title)}: ${word.toUpperCase()}`), text(escaped(headline))];
  for (const diagnosis of diagnoses) blocks.push(diagnosisBlock(diagnosis));
  if (checks.length > 0) blocks.push(checkBlock(`${level}# Checks\n\n`, checks));
  if (facts.length > 0) {
    const rows = facts.map(({ label, value }) => [label, value]);
    blocks.push(tableBlock("", { title: "", columns: [{ name: "" }, { name: "" }], rows }));
  }
  for (const table of tables) {
    if (table.rows.length > 0) blocks.push(tableBlock(`${level}# ${escaped(table.title)}\n\n`, table));
  }
  if (notes.length > 0) blocks.push(noteBlock(notes));
  return blocks;
}

/** Not cut for what comes after it: a page that has no room for all runs has at least their verdicts and causes. */
function contents(sections: readonly Section[]): Block {
  const table = summaryOf(sections);
  const short = table.rows.map((row) => row.map((cell) => clipped(cell, CONTENTS_TEXT)));
  const { begin, rows, end, left, more } = tableBlock("## Contents\n\n", { ...table, rows: short });
  return text(`${begin}${rows.join("")}${end}${left > 0 ? more(left) : ""}`);
}

/** A hundred rows of it are less than half a page. */
const CONTENTS_TEXT = 120;

/** Folded away until somebody asks. */
function evidence(header: Header): Block[] {
  const columns = [{ name: "" }, { name: "" }];
  const rows = evidenceFacts(header).map(({ label, value }) => [label, value]);
  const table = tableBlock("<details><summary>Evidence</summary>\n\n", { title: "", columns, rows });
  const facts = {
    ...table,
    begin: table.begin + table.rows.slice(0, UNCUT_FACTS).join(""),
    rows: table.rows.slice(UNCUT_FACTS),
  };
  const files = filesTable(header);
  if (files.rows.length === 0) return [{ ...facts, end: DETAILS_END }];
  return [facts, { ...tableBlock("", files), end: DETAILS_END }];
}

/** Command, time and version. */
const UNCUT_FACTS = 3;
const DETAILS_END = "\n\n</details>";

const text = (begin: string): Block => ({ begin, rows: [], end: "", left: 0, more: () => "" });

/** Beneath the verdict: what is wrong, where, and the way out. */
function diagnosisBlock({ code, cause, places, fixes, evidence }: Diagnosis): Block {
  const lines = [
    `**Cause:** ${code === null ? "" : `${escaped(code)}: `}${escaped(cause)}`,
    ...places.map((place) => `**Place:** ${escaped(place)}`),
    ...fixes.map((fix) => `**Fix:** ${escaped(fix)}`),
    ...(evidence === undefined ? [] : [`**Evidence:** ${escaped(evidence)}`]),
  ];
  return text(lines.map((line) => `- ${line}`).join("\n"));
}

function checkBlock(begin: string, checks: readonly Check[]): Block {
  const { shown, left } = shownChecks(checks, LIMITS.rows);
  const rows = shown.map(({ name, status, detail }) => [name, STATUS[status], detail ?? ""]);
  const columns = [{ name: "check" }, { name: "status" }, { name: "detail" }];
  return { ...tableBlock(begin, { title: "", columns, rows }), left, more: more("check") };
}

function tableBlock(begin: string, table: Table): Block {
  const { columns } = table;
  const { shown, left } = shownRows(table, LIMITS.rows);
  const line = (cells: readonly string[]) => `| ${cells.map(escaped).join(" | ")} |`;
  const rule = columns.map(({ align }) => (align === "right" ? " ---: " : " --- ")).join("|");
  return {
    begin: `${begin}${line(columns.map(({ name }) => name))}\n|${rule}|`,
    rows: shown.map((row) => `\n${line(columns.map((_, c) => row[c] ?? ""))}`),
    end: "",
    left,
    more: more("row"),
  };
}

function noteBlock(notes: readonly string[]): Block {
  const shown = notes.slice(0, LIMITS.rows);
  const rows = shown.map((note, i) => `${i === 0 ? "" : "\n>\n"}> ${escaped(note)}`);
  return { begin: "", rows, end: "", left: notes.length - shown.length, more: more("note") };
}

const more = (what: string) => (left: number) => `\n\n_${moreRows(left, what)}._`;

/** Tensor names hold `_`, `*` and `<`: they must come out as written. */
const escaped = (name: string): string => visible(clipped(name, LIMITS.text)).replace(/[\\`*_{}[\]<>|#]/g, "\\$&");

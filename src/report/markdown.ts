import type { ReportDocument, Table } from "./document.ts";

const STATUS = { pass: "✅ pass", fail: "❌ fail", skipped: "⚠️ skipped" } as const;

/** The report as GitHub-flavoured Markdown, short enough for a pull request comment or a step summary. */
export function renderMarkdown(document: ReportDocument): string {
  const blocks = [`# ${document.command}: ${document.verdict.toUpperCase()}`, escapeMarkdown(document.headline)];
  if (document.facts.length > 0) {
    blocks.push(
      table({
        title: "",
        columns: [{ name: "" }, { name: "" }],
        rows: document.facts.map(({ label, value }) => [label, value]),
      }),
    );
  }
  if (document.checks.length > 0) {
    blocks.push(
      "## Checks",
      table({
        title: "",
        columns: [{ name: "check" }, { name: "status" }, { name: "detail" }],
        rows: document.checks.map(({ name, status, detail }) => [name, STATUS[status], detail ?? ""]),
      }),
    );
  }
  for (const each of document.tables)
    if (each.rows.length > 0) blocks.push(`## ${escapeMarkdown(each.title)}`, table(each));
  if (document.notes.length > 0) blocks.push(document.notes.map((note) => `> ${escapeMarkdown(note)}`).join("\n>\n"));
  return `${blocks.join("\n\n")}\n`;
}

function table({ columns, rows }: Table): string {
  const line = (cells: readonly string[]) => `| ${cells.map(escapeMarkdown).join(" | ")} |`;
  return [
    line(columns.map(({ name }) => name)),
    `|${columns.map(({ align }) => (align === "right" ? " ---: " : " --- ")).join("|")}|`,
    ...rows.map((row) => line(columns.map((_, c) => row[c] ?? ""))),
  ].join("\n");
}

/** Tensor names hold `_`, `*` and `<`: they must come out as written. */
const escapeMarkdown = (text: string): string => text.replace(/[\\`*_{}[\]<>|#]/g, "\\$&").replace(/\r?\n/g, " ");

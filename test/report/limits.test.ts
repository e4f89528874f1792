// However large a model is, a page is one that people can open and post; what it leaves out, it says.
import { describe, expect, it } from "vitest";
import type { Check } from "../../src/base/check.ts";
import type { ReportDocument, Table } from "../../src/report/document.ts";
import { renderHtml } from "../../src/report/html.ts";
import { renderMarkdown } from "../../src/report/markdown.ts";
import { renderText } from "../../src/report/text.ts";

const ROWS = 130_000;
const key = (i: number) => `model.layers.${Math.floor(i / 512)}.mlp.experts.${i % 512}.down_proj.weight`;
const tensors: Table = {
  title: "Tensors",
  columns: [{ name: "key" }, { name: "xxh64" }],
  rows: Array.from({ length: ROWS }, (_, i) => [key(i), i.toString(16).padStart(16, "0")]),
};
const small: Table = { title: "Few", columns: [{ name: "only" }], rows: [["the small table's row"]] };

const documentOf = (parts: Partial<ReportDocument>): ReportDocument => ({
  title: "inspect",
  data: {},
  verdict: "pass",
  headline: "a large model",
  facts: [],
  checks: [],
  tables: [],
  notes: [],
  ...parts,
});

const sizeOf = (text: string) => Buffer.byteLength(text);
const PAGES = [
  ["Markdown", renderMarkdown, 65_536],
  ["HTML", renderHtml, 1_000_000],
] as const;

describe("130,000 tensors", () => {
  it("are all printed as text, to be searched", () => {
    const lines = renderText(documentOf({ tables: [tensors] }), { color: false }).split("\n");
    expect(lines.filter((line) => line.startsWith("model.layers."))).toHaveLength(ROWS);
    expect(lines).toContain(`${key(0).padEnd(key(ROWS - 1).length)}  ${"0".repeat(16)}`);
    expect(lines).toContain(`${key(ROWS - 1)}  ${(ROWS - 1).toString(16).padStart(16, "0")}`);
  });

  it("are as many checks or notes that text can hold", () => {
    const checks = tensors.rows.map(([name = ""]): Check => ({ name, status: "passed" }));
    const facts = checks.map(({ name }) => ({ label: name, value: "x" }));
    const notes = checks.map(({ name }) => name);
    const text = renderText(documentOf({ checks, facts, notes }), { color: false });
    expect(text.split("\n").filter((line) => line.includes(key(ROWS - 1)))).toHaveLength(3);
  });

  it.each(PAGES)("make a page of %s of bounded size that says what it leaves out", (_, render, most) => {
    const page = render(documentOf({ tables: [tensors, small] }));
    expect(sizeOf(page)).toBeLessThan(most);
    expect(page).toContain("the small table's row".replace("'", render === renderHtml ? "&#39;" : "'"));
    const shown = page.match(/model.layers/g)!.length;
    expect(shown).toBeGreaterThanOrEqual(100);
    expect(page).toContain(`${(ROWS - shown).toLocaleString("en-US")} more rows; the JSON report has all`);
  });
});

describe.each(PAGES)("%s is bounded", (_, render, most) => {
  it("where names are as long as files allow", () => {
    const name = "é\u202e".repeat(500_000);
    const table = { ...tensors, title: name, rows: [[name, name], ...tensors.rows] };
    const checks: Check[] = [{ name, status: "failed", detail: name }];
    const facts = [{ label: "found", value: name }];
    const page = render(documentOf({ headline: name, facts, checks, tables: [table, small], notes: [name, "last"] }));
    expect(sizeOf(page)).toBeLessThan(most);
    expect(page).toContain("…");
    expect(page).toContain("last");
  });

  it("where there are more tables than fit", () => {
    const page = render(documentOf({ tables: Array<Table>(20_000).fill(small) }));
    expect(sizeOf(page)).toBeLessThan(most);
    expect(page).toContain("The rest is in the JSON report.");
  });

  it("where there are more notes and facts than fit", () => {
    const notes = Array<string>(20_000).fill("the config declares bfloat16, the weights are float32");
    const facts = notes.map((value, i) => ({ label: `fact ${i}`, value }));
    const page = render(documentOf({ notes, facts }));
    expect(sizeOf(page)).toBeLessThan(most);
    expect(page).toMatch(/[\d,]+ more notes; the JSON report has all/);
    expect(page).toMatch(/[\d,]+ more rows; the JSON report has all/);
  });

  it("and a check that failed is the last to go", () => {
    const checks = Array.from({ length: ROWS }, (_, i): Check => ({ name: `file ${i}`, status: "passed" }));
    checks[ROWS - 1] = { name: "the last file", status: "failed" };
    const page = render(documentOf({ verdict: "fail", checks, tables: [tensors] }));
    expect(sizeOf(page)).toBeLessThan(most);
    expect(page).toContain("the last file");
    expect(page).toMatch(/[\d,]+ more checks; the JSON report has all/);
  });
});

describe("a table that shows its first rows only", () => {
  const table: Table = { ...small, rows: [["first"], ["second"], ["third"]], most: 2 };
  it.each([
    ["text", (document: ReportDocument) => renderText(document, { color: false })],
    ["Markdown", renderMarkdown],
    ["HTML", renderHtml],
  ])("says so in %s", (_, render) => {
    const page = render(documentOf({ tables: [table] }));
    expect(page).toContain("second");
    expect(page).not.toContain("third");
    expect(page).toContain("1 more row; the JSON report has all");
  });
});

it("one long name does not widen the column of all the others", () => {
  const rows = [["x".repeat(1_000_000), "1"], ...Array.from({ length: 1_000 }, () => ["short", "2"])];
  const table: Table = { ...tensors, rows };
  expect(renderText(documentOf({ tables: [table] }), { color: false }).length).toBeLessThan(2_000_000);
});

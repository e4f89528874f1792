// What a person sees on a narrow terminal, and that nothing is lost there.
import { describe, expect, it } from "vitest";
import { fittedWidths, wrapped } from "../../src/report/columns.ts";
import type { ReportDocument } from "../../src/report/document.ts";
import { renderHtml } from "../../src/report/html.ts";
import { renderMarkdown } from "../../src/report/markdown.ts";
import { renderText } from "../../src/report/text.ts";
import { contrast } from "./page.ts";

const long = "model.layers.{0–47}.mlp.experts.{0–127}.down_proj.weight";
const document: ReportDocument = {
  title: "plan",
  data: {},
  verdict: "pass",
  outcome: { word: "planned", isWarning: false },
  headline: "done",
  facts: [],
  checks: [],
  tables: [
    {
      title: "Tensors",
      columns: [{ name: "from" }, { name: "to" }, { name: "bytes", align: "right" }],
      rows: [
        [long, `layers.${"x".repeat(90)}`, "12,345"],
        ["short", "too", "1"],
      ],
    },
  ],
  notes: [],
};

describe("a table on a terminal", () => {
  it.each([[40], [80], [100]])("of %i columns is no wider, and has every character", (columns) => {
    const lines = renderText(document, { color: false, columns }).split("\n");
    const table = lines.slice(lines.indexOf("Tensors") + 1, lines.indexOf(""));
    for (const line of table) expect(line.length).toBeLessThanOrEqual(columns);
    const letters = (text: string) => [...text.replaceAll(/\s/g, "")].sort().join("");
    expect(letters(table.join(""))).toBe(letters(`from to bytes${document.tables[0]!.rows.flat().join("")}`));
    expect(table.filter((line) => line.startsWith("short")).length).toBe(1);
  });

  it("of no known width has a line a row", () => {
    expect(renderText(document)).toContain(`${long}  layers.${"x".repeat(90)}  12,345\nshort`);
  });

  it("that fits stays as it is, and one of too many columns keeps a least width", () => {
    expect(fittedWidths([10, 5], [false, false], 20)).toEqual([10, 5]);
    expect(fittedWidths([30, 30, 6], [false, false, true], 40)).toEqual([15, 15, 6]);
    expect(fittedWidths([30, 12, 6], [false, false, true], 40)).toEqual([18, 12, 6]);
    expect(fittedWidths([30, 30, 30], [false, false, false], 5)).toEqual([8, 8, 8]);
  });

  it("breaks behind a dot or a space, and anywhere where there is none", () => {
    expect(wrapped("model.layers.weight", 13)).toEqual(["model.layers.", "weight"]);
    expect(wrapped("a sentence of words", 10)).toEqual(["a sentence", "of words"]);
    expect(wrapped("x".repeat(25), 10)).toEqual(["x".repeat(10), "x".repeat(10), "x".repeat(5)]);
    expect(wrapped("xxx\u{1f600}yyy", 4)).toEqual(["xxx", "\u{1f600}yy", "y"]);
  });
});

describe("what verified nothing is not called passed", () => {
  it("in HTML and Markdown", () => {
    const warned = { ...document, outcome: { word: "1 problem", isWarning: true } };
    expect(renderMarkdown(document)).toMatch(/^# plan: PLANNED\n/);
    expect(renderMarkdown(warned)).toMatch(/^# plan: 1 PROBLEM\n/);
    expect(renderHtml(document)).toContain('<header class="done">');
    expect(renderHtml(document)).toContain("<title>plan: planned</title>");
    expect(renderHtml(warned)).toContain('<header class="warning">');
    const { outcome: _, ...checked } = document;
    expect(renderHtml(checked)).toContain('<header class="pass">');
  });

  it("colours on dark can be read: WCAG 2.1, 4.5 to 1", () => {
    const [, dark = ""] = renderHtml(document).split("prefers-color-scheme: dark");
    const colours = [...dark.matchAll(/--verdict: (#[0-9a-f]{6})/g)].map(([, colour]) => colour!);
    expect(colours.length).toBe(4);
    for (const colour of colours) expect(contrast(colour, "#121212"), colour).toBeGreaterThan(4.5);
    for (const colour of ["#1a7f37", "#cf222e", "#9a6700", "#0969da"])
      expect(contrast(colour, "#ffffff")).toBeGreaterThan(4.5);
  });
});

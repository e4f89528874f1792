// The header on every page, and what a page of many runs keeps where there is no room for all.
import { describe, expect, it } from "vitest";
import type { ReportDocument, Section } from "../../src/report/document.ts";
import type { Header } from "../../src/report/header.ts";
import { renderHtml } from "../../src/report/html.ts";
import { renderJunit } from "../../src/report/junit.ts";
import { renderMarkdown } from "../../src/report/markdown.ts";

const sha256 = "ab".repeat(32);
const header: Header = {
  tool: "convert-checkpoint",
  version: "9.9.9",
  command: "convert-checkpoint check a b",
  time: "2026-11-29T14:39:00.123Z",
  host: { node: "v22.11.0", platform: "linux x64" },
  inputs: { files: [{ option: "--ids", path: "/ids.json", bytes: 9, sha256, read: "content" }] },
  files: [
    { path: "/a/model.safetensors", bytes: 5e9, sha256: null, read: "header" },
    { path: "/b/model.safetensors", bytes: 5e9, sha256, read: "content" },
  ],
  configs: { a: { path: "/a/config.json", sha256, mathematics: "cd".repeat(32) } },
};
const section = (i: number): Section => ({
  title: `check step-${i}`,
  verdict: i % 7 === 0 ? "fail" : "pass",
  headline: `checkpoint ${i} ${"with many words ".repeat(20)}`,
  diagnoses:
    i % 7 === 0
      ? [
          {
            code: "ROPE_PERMUTED",
            cause: "rotary order",
            places: ["layers.0.wq"],
            fixes: ["undo it"],
            evidence: "KL 0.3",
          },
        ]
      : [],
  facts: [{ label: "limits", value: "mean KL 1.00e-8" }],
  checks: [
    { name: "mean KL within its limit", status: i % 7 === 0 ? "failed" : "passed", detail: "3.1e-1" },
    { name: "configs", status: "not checked", detail: "one for both" },
  ],
  tables: [
    { title: "Tensors", columns: [{ name: "key" }], rows: Array.from({ length: 500 }, (_, n) => [`layers.${n}`]) },
  ],
  notes: ["a note ".repeat(50)],
});
const one: ReportDocument = { ...section(7), data: {}, header };
const many: ReportDocument = {
  ...section(7),
  title: "gate",
  sections: Array.from({ length: 60 }, (_, i) => section(i)),
  data: {},
  header,
};

describe("the header", () => {
  it.each([renderHtml, renderMarkdown, renderJunit])("is on every page: %o", (render) => {
    const page = render(one).replaceAll("\\", "");
    for (const text of [header.command, header.time, "9.9.9", "/a/config.json", sha256, "cd".repeat(32), "--ids"]) {
      expect(page).toContain(text);
    }
    expect(page).toContain("/a/model.safetensors");
    expect(page).toContain("headers alone were read");
  });
});

describe("Markdown", () => {
  it("has verdict, cause, place and fix before anything else", () => {
    const page = renderMarkdown(one).replaceAll("\\", "");
    const at = ["# check step-7: FAIL", "ROPE_PERMUTED", "layers.0.wq", "undo it", "mean KL within", "<details>"];
    const found = at.map((text) => page.indexOf(text));
    expect(found).toEqual(found.toSorted((a, b) => a - b));
    expect(found[0]).toBe(0);
  });

  it("of many runs is short, and has the verdict and the cause of each", () => {
    const page = renderMarkdown(many);
    expect(Buffer.byteLength(page)).toBeLessThanOrEqual(60_000);
    for (let i = 0; i < 60; i++) {
      const [line] = page.split("\n").filter((each) => each.startsWith(`| check step-${i} `));
      expect(line).toContain(i % 7 === 0 ? "| fail | ROPE\\_PERMUTED |" : "| pass |");
    }
    expect(page).toContain(`| time | ${header.time} |`);
  });
});

describe("JUnit", () => {
  const xml = renderJunit(many);

  it("has a suite a run with its time and limits, and tests whose names stay", () => {
    expect(
      xml.match(/<testsuite name="check step-\d+" tests="2" [^>]* timestamp="2026-11-29T14:39:00">/g),
    ).toHaveLength(60);
    expect(xml).toContain('<property name="limits" value="mean KL 1.00e-8"/>');
    expect(xml).toContain('<testcase classname="check step-1" name="mean KL within its limit"/>');
  });

  it("has the cause and the fix with what failed", () => {
    const [failure] = /<failure type="ROPE_PERMUTED" message="3.1e-1">[^<]*<\/failure>/.exec(xml) ?? [];
    expect(failure).toContain("cause: ROPE_PERMUTED: rotary order");
    expect(failure).toContain("fix: undo it");
  });
});

// The library that draws takes a moment to load: only a page with a picture pays for it.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it, vi } from "vitest";
import type { ReportDocument } from "../../src/report/document.ts";
import { renderHtml } from "../../src/report/html.ts";

vi.mock("../../src/report/plots/library.ts", () => ({
  library: () => {
    throw new Error("loaded");
  },
}));

const page: ReportDocument = {
  title: "inspect",
  data: {},
  verdict: "pass",
  headline: "read",
  facts: [],
  checks: [],
  tables: [],
  notes: [],
};

it("a page without pictures is made without it", () => {
  expect(renderHtml({ ...page, plots: [] })).toContain("read");
  expect(() =>
    renderHtml({
      ...page,
      plots: [{ kind: "margin", title: "", about: "", unit: "", value: 1, limit: 2, floor: null }],
    }),
  ).toThrow("loaded");
});

it("no other file imports it but for its types", () => {
  const src = new URL("../../src/", import.meta.url).pathname;
  const files = readdirSync(src, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  const importing = files.filter((name) =>
    /^import (?!type ).*(@observablehq|linkedom)/m.test(readFileSync(join(src, name), "utf8")),
  );
  expect(importing).toEqual([]);
});

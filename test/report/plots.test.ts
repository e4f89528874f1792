// Pictures on a page: each has its numbers or is not there, and none of them brings in anything from outside.
import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { ReportDocument, Section } from "../../src/report/document.ts";
import { renderHtml } from "../../src/report/html.ts";
import type { Plot } from "../../src/report/plots/plot.ts";
import { logRange, powerName } from "../../src/report/plots/scale.ts";
import { drawingNote, drawn } from "../../src/report/plots/svg.ts";
import { marginText } from "../../src/report/views/parity/margin.ts";
import { parityDocument } from "../../src/report/views/parity.ts";
import { contrast, tagsOf } from "./page.ts";
import { storedParity } from "./stored.ts";

const names = readdirSync(new URL("stored/", import.meta.url))
  .filter((name) => name.startsWith("parity-"))
  .map((name) => name.replace(".json", ""));
const documentOf = (name: string): ReportDocument => parityDocument(storedParity(name));
const titlesOf = (name: string): string[] =>
  documentOf(name).plots!.map(({ title }) => title.replace(/, \d.*| \(.*/, ""));

function numbersIn(value: unknown): number[] {
  if (typeof value === "number") return [value];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(numbersIn) : [];
}

describe.each(names)("%s", (name) => {
  const { plots = [], ...document } = documentOf(name);

  it("has pictures of numbers only", () => {
    expect(plots.length).toBeGreaterThan(0);
    expect(numbersIn(plots).filter((x) => !Number.isFinite(x))).toEqual([]);
    for (const plot of plots) {
      const svg = drawn(plot);
      expect(svg, plot.title).not.toMatch(/NaN|Infinity|undefined|null/);
      expect(svg.length, plot.title).toBeLessThan(40_000);
    }
  });

  it("is a page whose tags nest, with names for who does not see it", () => {
    const html = renderHtml({ ...document, plots });
    const tags = tagsOf(html);
    const ids = tags.flatMap(({ attributes }) => attributes.get("id") ?? []);
    expect(new Set(ids).size).toBe(ids.length);
    const svgs = tags.filter((tag) => tag.name === "svg");
    expect(svgs.length).toBe(plots.length);
    for (const { attributes } of svgs) expect(attributes.get("role")).toBe("img");
    expect(html.match(/<svg [^>]*><title>[^<]+<\/title><desc>[^<]+<\/desc>/g)).toHaveLength(plots.length);
    for (const { attributes } of tags.filter((tag) => tag.attributes.get("class")?.startsWith("scroll"))) {
      expect(attributes.get("tabindex")).toBe("0");
      expect(attributes.get("aria-label")).not.toBe("");
    }
    expect(html.length).toBeLessThan(120_000);
  });

  it("asks nothing of a network and runs nothing", () => {
    const tags = tagsOf(renderHtml({ ...document, plots }));
    expect(tags.map((tag) => tag.name)).not.toEqual(expect.arrayContaining(["script"]));
    for (const { name: tag, attributes } of tags) {
      for (const [key, value] of attributes) {
        if (key.startsWith("xmlns")) continue;
        expect(`${tag} ${key}="${value}"`).not.toMatch(/https?:|url\(|src=|^on|@import/);
      }
    }
  });
});

describe("a picture is absent where there is nothing to see", () => {
  it("of what a golden does not have, or what is equal", () => {
    expect(titlesOf("parity-golden-nan")).not.toContain("Error by layer");
    expect(titlesOf("parity-pass")).toEqual([
      "No difference on this input: the mean KL is 0",
      "Error by layer",
      "Logits against each other",
    ]);
  });

  it("of probabilities and a margin that are no numbers", () => {
    expect(titlesOf("parity-nan-weight")).toEqual(["Error by layer"]);
  });

  it("and there where there is", () => {
    expect(titlesOf("parity-config")).toEqual([
      expect.stringMatching(/^[\d.,]+ (thousand |million )?× above the limit$/),
      "KL by position",
      "Error by layer",
      "Likeliest tokens at the worst position",
      "Logits against each other",
    ]);
    expect(titlesOf("parity-mtp")).toContain("Tokens that went to other experts, by layer");
  });

  it("marks the first divergence, and shows what known differences hide", () => {
    const found = storedParity("parity-known-fail");
    const plot = parityDocument(found).plots!.find(({ title }) => title === "Error by layer")!;
    if (plot.kind !== "lines") throw new Error("no lines");
    expect(plot.marked?.name).toBe(found.firstDivergence!.tap);
    expect(plot.x.names![plot.marked!.x]).toBe(found.firstDivergence!.tap);
    expect(plot.series.map((series) => series.name)).toContain("so far, known differences undone");
  });
});

describe("a large model", () => {
  const small = storedParity("parity-mtp");
  const layers = Array.from({ length: 61 }, (_, l) => ({
    ...small.routing!.layers[0]!,
    name: `layers.${l}`,
    tokens: 512,
    flipped: l,
  }));
  const taps = Array.from({ length: 200 }, (_, i) => ({
    ...small.taps[0]!,
    tap: `layers.${i}.feed_forward`,
    relativeRms: 1e-9 * (i + 1),
  }));
  const { plots = [], ...document } = parityDocument({ ...small, taps, routing: { ...small.routing!, layers } });

  it("has each layer in a picture of bounded size, and names for some of them", () => {
    const error = plots.find(({ title }) => title === "Error by layer")!;
    const svg = drawn(error);
    expect(svg.match(/>layers\.\d+\.feed/g)!.length).toBeLessThanOrEqual(14);
    expect(svg.length).toBeLessThan(40_000);
    const routing = plots.find(({ title }) => title.startsWith("Tokens that went"))!;
    if (routing.kind !== "lines") throw new Error("no lines");
    expect(routing.series[0]!.points).toHaveLength(61);
    expect(renderHtml({ ...document, plots }).length).toBeLessThan(150_000);
  });

  it("has bars that say how many more there are", () => {
    const groups = layers.map(({ name }) => ({ name, values: [1] }));
    const plot: Plot = { kind: "bars", title: "", about: "", x: { label: "", as: "bytes" }, series: ["x"], groups };
    expect(drawingNote(plot)).toBe("21 more groups not drawn: the JSON report has all.");
    expect(drawingNote({ ...plot, groups: groups.slice(0, 40) })).toBeNull();
  });
});

it("names of levels that are close together do not cover each other", () => {
  const names = ["limit", "mean", "rounding", "other"];
  const svg = drawn({
    kind: "lines",
    title: "KL",
    about: "",
    x: { label: "position" },
    y: { label: "KL", isLog: true },
    series: [
      {
        name: "KL",
        as: "dots",
        points: [
          [0, 1e-12],
          [9, 1e-7],
        ],
      },
    ],
    levels: names.map((name, i) => ({ name, y: 1e-8 * (1 - i / 10) })),
  });
  const places = names.map((name) => {
    const at = new RegExp(
      `translate\\((-?[\\d.]+),(-?[\\d.]+)\\)"[^>]*><text[^>]*translate\\(([\\d.]+),([\\d.]+)\\)[^>]*>${name}<`,
    ).exec(svg)!;
    const [dx, dy, x, y] = at.slice(1).map(Number);
    return [dx! + x!, dy! + y!] as const;
  });
  for (const [i, [x, y]] of places.entries()) {
    for (const [x2, y2] of places.slice(0, i)) expect(Math.abs(x - x2) > 100 || Math.abs(y - y2) >= 13).toBe(true);
  }
});

const hostile = '</title><script>alert("1")</script>\'&\u202e\u0007" onload="x';
const HOSTILE: readonly Plot[] = [
  {
    kind: "lines",
    title: hostile,
    about: hostile,
    x: { label: hostile, names: [hostile, "b", hostile] },
    y: { label: hostile, isLog: true },
    series: [
      {
        name: hostile,
        as: "line",
        points: [
          [0, 1e-9],
          [1, 0],
          [2, 1],
        ],
      },
    ],
    levels: [{ name: hostile, y: 1e-8 }],
    marked: { x: 1, name: hostile },
  },
  {
    kind: "scatter",
    title: hostile,
    about: hostile,
    x: { label: hostile },
    y: { label: hostile },
    series: [{ name: hostile, pairs: [[0, 0]] }],
  },
  {
    kind: "bars",
    title: hostile,
    about: hostile,
    x: { label: hostile, as: "number" },
    series: [hostile, "b"],
    groups: [{ name: hostile, values: [1, null] }],
  },
  { kind: "margin", title: hostile, about: hostile, unit: hostile, value: 0, limit: 1e-8, floor: 1e-12 },
];

const page = (parts: Partial<ReportDocument>): ReportDocument => ({
  title: "gate",
  data: {},
  verdict: "fail",
  headline: "1 of 2 failed",
  facts: [],
  checks: [],
  tables: [],
  notes: [],
  ...parts,
});

const OBEYED = ["<script", "\u202e", "\u0007"];

it("names of tensors stay text, in every kind of picture", () => {
  for (const plot of HOSTILE) {
    const svg = drawn(plot);
    expect(OBEYED.filter((each) => svg.includes(each))).toEqual([]);
    expect(tagsOf(svg).filter(({ attributes }) => attributes.has("onload"))).toEqual([]);
  }
  const html = renderHtml(
    page({ plots: HOSTILE, diagnoses: [{ code: hostile, cause: hostile, places: [hostile], fixes: [hostile] }] }),
  );
  const tags = tagsOf(html);
  expect(tags.filter(({ name }) => name === "script")).toEqual([]);
  expect(tags.filter(({ attributes }) => attributes.has("onload"))).toEqual([]);
  expect(OBEYED.filter((each) => html.includes(each))).toEqual([]);
});

describe("a page of many runs", () => {
  const plots = documentOf("parity-mtp").plots!;
  const section = (i: number): Section => ({
    ...page({ title: `checkpoint ${i}`, headline: `run ${i}`, verdict: i % 20 === 19 ? "fail" : "pass" }),
    figures: [{ label: "mean KL", value: `${i}e-9` }],
    diagnoses: i % 20 === 19 ? [{ code: "ROPE_PERMUTED", cause: "rows", places: ["k"], fixes: ["permute"] }] : [],
    plots,
  });
  const sections = Array.from({ length: 60 }, (_, i) => section(i));
  const html = renderHtml(page({ sections }));

  it("has a table of all with verdict, numbers and cause, and links that lead somewhere", () => {
    const tags = tagsOf(html);
    const ids = new Set(tags.flatMap(({ attributes }) => attributes.get("id") ?? []));
    const links = tags.flatMap(({ attributes }) => attributes.get("href") ?? []);
    expect(links).toHaveLength(60);
    for (const link of links) expect(ids).toContain(link.slice(1));
    expect(html).toContain(
      '<td><a href="#section-20">checkpoint 19</a></td><td class="fail"><span class="status">fail</span></td><td>ROPE_PERMUTED</td><td class="right">19e-9</td>',
    );
  });

  it("keeps below its size by leaving out pictures of what passed, and says so", () => {
    expect(Buffer.byteLength(html)).toBeLessThan(1_000_000);
    const parts = html.split('<div class="apart"').slice(1);
    expect(parts).toHaveLength(60);
    for (const i of [19, 39, 59]) expect(parts[i]!.match(/<figure /g)).toHaveLength(plots.length);
    expect(html.match(/<figure /g)!.length).toBeLessThan(60 * plots.length);
    expect(html).toMatch(/[\d,]+ pictures are left out for the size of the page/);
  });
});

describe("one page for light and dark", () => {
  const html = renderHtml(page({ plots: HOSTILE }));
  const style = html.slice(html.indexOf("<style>"), html.indexOf("</style>"));
  const [light = "", dark = ""] = style.split("prefers-color-scheme: dark");
  const colours = (css: string) =>
    new Map([...css.matchAll(/--([\w-]+): (#[0-9a-f]{6})/g)].map(([, key, value]) => [key!, value!] as const));

  it("has both colours of everything that is drawn", () => {
    const used = new Set([...html.matchAll(/var\(--([\w-]+)\)/g)].map(([, key]) => key!));
    for (const key of [...used].filter((each) => !["verdict", "key"].includes(each))) {
      expect([...colours(light).keys()], key).toContain(key);
      expect([...colours(dark).keys()], key).toContain(key);
    }
  });

  it.each(["ink", "dim", "level", "mark", "good", "bad", "series-1", "series-2", "series-3"])(
    "%s can be read on both",
    (key) => {
      for (const css of [light, dark]) {
        const found = colours(css);
        expect(contrast(found.get(key)!, found.get("ground")!)).toBeGreaterThan(4.5);
        if (key === "ink" || key === "dim") expect(contrast(found.get(key)!, found.get("soft")!)).toBeGreaterThan(4.5);
      }
    },
  );
});

describe("a log axis", () => {
  it("has whole decades, a few ticks, and room for zeros", () => {
    expect(logRange([3e-9, 0.4])).toEqual({ low: 1e-9, high: 1, ticks: [1e-9, 1e-7, 1e-5, 1e-3, 0.1] });
    expect(logRange([0, 1e-8])).toMatchObject({ low: 1e-9, high: 1e-7 });
    expect(logRange([0, 0])).toMatchObject({ low: 0.1, high: 10 });
    expect(logRange([1e-300, 1])).toMatchObject({ low: 1e-13, high: 10 });
    for (const least of [1e-16, 1e-9, 0.2]) expect(logRange([least, 1]).ticks.length).toBeLessThanOrEqual(7);
    expect([1e-8, 0.01, 1, 1000, 1e5].map(powerName)).toEqual(["1e-8", "0.01", "1", "1000", "1e5"]);
  });

  it("says what stands on its end", () => {
    expect(drawingNote(HOSTILE[0]!)).toBe("1 point of less than 1e-10, or of 0, stands on the axis.");
    expect(drawingNote(HOSTILE[1]!)).toBeNull();
  });
});

it.each([
  [4e-13, 1e-8, "25,000 × below the limit"],
  [5.64e-2, 1e-8, "5.6 million × above the limit"],
  [2e-18, 1e-8, "5 billion × below the limit"],
  [9e-9, 1e-8, "1.1 × below the limit"],
  [0, 1e-8, "No difference on this input: the mean KL is 0"],
  [Number.NaN, 1e-8, null],
])("a mean KL of %f is told beside its limit", (klMeanNats, limit, words) => {
  expect(marginText({ metrics: { klMeanNats }, thresholds: { klMeanNats: limit } })).toBe(words);
});

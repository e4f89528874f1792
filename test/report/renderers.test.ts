import { describe, expect, it } from "vitest";
import { UsageError } from "../../src/base/errors.ts";
import type { ReportDocument, Section } from "../../src/report/document.ts";
import { rendererFor } from "../../src/report/renderers.ts";
import { renderText } from "../../src/report/text.ts";
import { formatBytes, formatSeconds } from "../../src/report/units.ts";

const key = 'layers.0.<b>"q"&_w|*';
const document: ReportDocument = {
  title: "diff",
  data: { verdict: "fail", n: 1 },
  verdict: "fail",
  headline: `1 tensor differs: ${key}`,
  facts: [{ label: "family", value: "llama3" }],
  checks: [
    { name: "same keys", status: "passed" },
    { name: "same values", status: "failed", detail: `${key}\nat [0, 1]` },
    { name: "parity", status: "not checked", detail: "no GPU" },
  ],
  tables: [
    {
      title: "Differences",
      columns: [{ name: "key" }, { name: "elements", align: "right" }],
      rows: [
        [key, "3"],
        ["b", "12000"],
      ],
    },
  ],
  notes: ["control \u0001 and lone \ud800 characters"],
  seconds: 1.25,
};

describe("renderText", () => {
  it("aligns columns and ends with the headline", () => {
    const lines = renderText(document, { color: false }).trimEnd().split("\n");
    expect(lines).toContain(`${"b".padEnd(key.length)}     12000`);
    expect(lines.at(-1)).toBe(document.headline);
  });

  it("colours only when asked to", () => {
    expect(renderText(document, { color: false })).not.toContain("\u001b");
    expect(renderText(document, { color: true })).toContain("\u001b[31m✗");
  });
});

describe("JUnit", () => {
  const xml = rendererFor("out/report.xml")(document);

  it("counts failures and skipped checks apart", () => {
    expect(xml).toContain('tests="3" failures="1" errors="0" skipped="1" time="1.250"');
    expect(xml.match(/<testcase /g)).toHaveLength(3);
    expect(xml.match(/<failure /g)).toHaveLength(1);
  });

  it("escapes markup and replaces what XML cannot hold", () => {
    expect(xml).toContain("layers.0.&lt;b&gt;&quot;q&quot;&amp;_w|*&#10;at [0, 1]");
    expect(xml).toContain("control \ufffd and lone \ufffd characters");
  });

  it("calls a command that could not run an error", () => {
    const broken = rendererFor("r.xml")({ ...document, verdict: "error", checks: [] });
    expect(broken).toContain('failures="0" errors="1"');
    expect(broken).toContain("<error message=");
  });
});

describe("other formats", () => {
  it("writes Markdown that shows keys as they are", () => {
    const markdown = rendererFor("r.md")(document);
    expect(markdown).toContain("# diff: FAIL");
    expect(markdown).toContain('layers.0.\\<b\\>"q"&\\_w\\|\\*');
  });

  it("writes HTML without markup from the input, scripts or links", () => {
    const html = rendererFor("r.HTML")(document);
    expect(html).toContain("layers.0.&lt;b&gt;&quot;q&quot;&amp;_w|*");
    expect(html).not.toMatch(/<b>"|<script|https?:/);
  });

  it("gives a sentence a column of some width on a narrow page, and keeps keys whole", () => {
    const rows = [[key, "1 of 4050 elements are NaN; the first at [1, 46]"]];
    const html = rendererFor("r.html")({
      ...document,
      tables: [{ ...document.tables[0]!, columns: [{ name: "key" }, { name: "what" }], rows }],
    });
    expect(html).toContain('<td class="prose">1 of 4050 elements');
    expect(html).toContain("<td>layers.0.");
    expect(html).not.toMatch(/\btd [^}]*overflow-wrap: anywhere/);
  });

  it("writes the JSON document itself", () => {
    const { checks } = document;
    expect(JSON.parse(rendererFor("r.json")(document))).toEqual({ verdict: "fail", n: 1, checks });
  });

  it("refuses an unknown extension", () => {
    expect(() => rendererFor("report.pdf")).toThrow(UsageError);
    expect(() => rendererFor("report")).toThrow(/report/);
  });
});

describe("a report of several runs", () => {
  const section = (title: string, status: "pass" | "fail"): Section => ({
    title,
    verdict: status,
    headline: `${title} came to ${status}`,
    facts: [],
    checks: [
      { name: "same keys", status: "passed" },
      { name: "same values", status: status === "pass" ? "passed" : "failed" },
    ],
    tables: [],
    notes: [],
    seconds: 2,
  });
  const gathered: ReportDocument = {
    ...document,
    checks: [],
    sections: [section("diff a b", "pass"), section("parity a b", "fail")],
  };

  it("is a JUnit suite for each, and one of its own where it has checks", () => {
    const xml = rendererFor("r.xml")(gathered);
    expect(xml).toContain('<testsuites name="convert-checkpoint" tests="4" failures="1" errors="0" time=');
    expect(xml.match(/<testsuite name="(.*?)" tests="\d+" failures="\d+"/g)).toEqual([
      '<testsuite name="diff a b" tests="2" failures="0"',
      '<testsuite name="parity a b" tests="2" failures="1"',
    ]);
    const withOwn = rendererFor("r.xml")({ ...gathered, checks: document.checks });
    expect(withOwn).toContain('<testsuites name="convert-checkpoint" tests="7" failures="2" errors="0" time=');
    expect(withOwn.match(/<testsuite /g)).toHaveLength(3);
  });

  it("has each under its title in every other format, and ends in the verdict on a terminal", () => {
    const lines = renderText(gathered, { color: false }).trimEnd().split("\n");
    expect(lines).toContain("diff a b");
    expect(lines).toContain("parity a b came to fail");
    expect(lines.at(-1)).toBe(document.headline);
    expect(rendererFor("r.md")(gathered)).toContain("## parity a b: FAIL\n\nparity a b came to fail\n\n### Checks\n");
    expect(rendererFor("r.html")(gathered)).toContain(
      '<header class="fail"><h2>parity a b · <b>fail</b></h2><p>parity a b came to fail</p></header>',
    );
  });
});

describe("a report of several runs, at its top", () => {
  const run = (title: string, kl: string, causes: readonly string[]): Section => ({
    ...document,
    title,
    verdict: causes.length > 0 ? "fail" : "pass",
    headline: `${title} was run`,
    figures: [{ label: "mean KL", value: kl }],
    diagnoses: causes.map((code) => ({ code, cause: "because", places: ["layers.0"], fixes: ["mend it"] })),
  });
  const sections = [run("8B", "1e-12", []), run("70B", "0.5", ["ROPE_PERMUTED", "ROUNDED"])];
  const gate: ReportDocument = {
    ...document,
    title: "gate",
    headline: "1 of 2 failed",
    checks: [],
    tables: [],
    sections,
  };

  it("has all of them in one table, with verdict, numbers and cause", () => {
    const text = renderText(gate);
    expect(text).toMatch(
      /^1 of 2 failed\n\nContents\nrun +verdict +cause +mean KL\n8B +pass +1e-12\n70B +fail +ROPE_PERMUTED and 1 more +0\.5\n\n8B\n/,
    );
    expect(text).toMatch(/\n1 of 2 failed\n$/);
    expect(rendererFor("r.md")(gate)).toContain(
      "1 of 2 failed\n\n## Contents\n\n| run | verdict | cause | mean KL |\n| --- | --- | --- | ---: |\n| 8B | pass |  | 1e-12 |\n| 70B | fail | ROPE\\_PERMUTED and 1 more | 0.5 |",
    );
    expect(rendererFor("r.html")(gate)).toContain('<a href="#section-2">70B</a>');
  });
});

describe("what is wrong", () => {
  const diagnosis = {
    code: "ROPE_PERMUTED",
    cause: "rows are elsewhere",
    evidence: "KL 0.5",
    places: ["k_proj", "first difference at layers.1"],
    fixes: ["permute them once"],
  };
  const failed: ReportDocument = { ...document, diagnoses: [diagnosis] };

  it("stands right beneath the verdict, before any number: cause, place, fix", () => {
    expect(renderText(failed)).toMatch(
      /^.*differs: .*\n\ncause +ROPE_PERMUTED: rows are elsewhere\nplace +k_proj\n +first difference at layers\.1\nfix +permute them once\nevidence +KL 0\.5\n\n✓ same keys\n/,
    );
    expect(rendererFor("r.md")(failed)).toMatch(
      /^# diff: FAIL\n\n.*\n\n- \*\*Cause:\*\* ROPE\\_PERMUTED: rows .*\n- \*\*Place:\*\* k\\_proj\n.*\n- \*\*Fix:\*\* permute .*\n.*\n\n## Checks\n/,
    );
    const html = rendererFor("r.html")(failed);
    const order = [
      "<header",
      "rows are elsewhere",
      "permute them once",
      "<h2>Checks",
      "<h2>Facts",
      "Differences</h2>",
      "<h2>Notes",
    ];
    const places = order.map((each) => html.indexOf(each));
    expect(places).toEqual(places.toSorted((a, b) => a - b));
    expect(places[0]).toBeGreaterThan(0);
  });

  it("fits a terminal, and on a page checks that failed come first", () => {
    const long = {
      ...diagnosis,
      cause: "the rows of this tensor have another order than the config's rotary embedding asks for ".repeat(3),
    };
    const lines = renderText({ ...failed, tables: [], diagnoses: [long] }, { color: false, columns: 80 }).split("\n");
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(80);
    expect(lines.filter((line) => /^ {10}\S/.test(line)).length).toBeGreaterThan(2);
    const html = rendererFor("r.html")(failed);
    const places = ["same values", "parity", "same keys"].map((name) => html.indexOf(`<td>${name}</td>`));
    expect(places).toEqual(places.toSorted((a, b) => a - b));
    expect(html).toContain("1 not checked");
  });
});

describe("units", () => {
  it.each([
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.00 kB"],
    [999_499, "999 kB"],
    [999_500, "1.00 MB"],
    [5e9, "5.00 GB"],
    [123_456_789_012, "123 GB"],
    [2.5e15, "2500 TB"],
  ])("%d bytes are %s", (bytes, text) => expect(formatBytes(bytes)).toBe(text));

  it.each([
    [0.123, "0.12 s"],
    [59, "59.0 s"],
    [61, "1 min 1 s"],
    [119.7, "2 min 0 s"],
    [7260, "2 h 1 min"],
  ])("%d seconds are %s", (seconds, text) => expect(formatSeconds(seconds)).toBe(text));
});

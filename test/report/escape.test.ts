// Names out of files move no cursor, forge no line and turn no text, wherever people read them.
import { describe, expect, it } from "vitest";
import { InputError } from "../../src/base/errors.ts";
import { failureOf } from "../../src/base/failure.ts";
import type { ReportDocument } from "../../src/report/document.ts";
import { renderHtml } from "../../src/report/html.ts";
import { renderJson } from "../../src/report/json.ts";
import { renderJunit } from "../../src/report/junit.ts";
import { renderMarkdown } from "../../src/report/markdown.ts";
import { renderText } from "../../src/report/text.ts";
import { failureText } from "../../src/report/views/failure.ts";

const HOSTILE = {
  ESC: "\u001b[2J",
  "OSC, the window's title": "\u001b]0;owned\u0007",
  NUL: "\u0000",
  newline: "\n✓ every tensor is right",
  "carriage return": "\rerror",
  tab: "\tx",
  DEL: "\u007f",
  "CSI of C1": "\u009b31m",
  "right-to-left override": "\u202etxet",
  "left-to-right isolate": "\u2066x\u2069",
  "line separator": "\u2028x",
} as const;

const documentOf = (name: string): ReportDocument => ({
  title: "inspect",
  data: { tensors: [name], [name]: name },
  verdict: "fail",
  headline: `"${name}" differs`,
  facts: [{ label: name, value: name }],
  checks: [{ name, status: "failed", detail: name }],
  tables: [{ title: name, columns: [{ name }], rows: [[name], [name]] }],
  notes: [name],
  sections: [{ title: name, verdict: "fail", headline: name, facts: [], checks: [], tables: [], notes: [name] }],
});

/** Everything but the newlines that the renderer itself writes. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
const OBEYED = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/;

describe.each(Object.entries(HOSTILE))("%s in a name", (_, hostile) => {
  const name = `layers.0.${hostile}.weight`;
  const document = documentOf(name);
  const lines = (text: string) => text.split("\n").length;
  const harmless = documentOf("layers.0.weight");
  const plain = { color: false };

  it("is spelled out in text, Markdown and HTML, and adds no line", () => {
    for (const render of [(d: ReportDocument) => renderText(d, plain), renderMarkdown, renderHtml]) {
      const page = render(document);
      expect(page).not.toMatch(OBEYED);
      expect(lines(page)).toBe(lines(render(harmless)));
      expect(page).toMatch(/layers\.0\.\\{1,2}(u[0-9a-f]{4}|n|r|t)/);
    }
  });

  it("is neither obeyed in JUnit nor in JSON, which means the same", () => {
    expect(renderJunit(document)).not.toMatch(OBEYED);
    expect(lines(renderJunit(document))).toBe(lines(renderJunit(harmless)));
    expect(renderJson(document)).not.toMatch(OBEYED);
    expect(JSON.parse(renderJson(document))).toEqual({ ...document.data, checks: document.checks });
  });

  it("is spelled out in an error, which keeps its help as the last line", () => {
    const error = new InputError("UNKNOWN_TENSOR", `"${name}": no such tensor`, {
      tensor: name,
      file: `x${name}`,
      expected: `y${name}`,
      found: `z${name}`,
      help: `rename ${name}`,
    });
    const text = failureText(failureOf(error), plain);
    expect(text).not.toMatch(OBEYED);
    expect(text.trimEnd().split("\n")).toHaveLength(5);
    expect(text.trimEnd().split("\n").at(-1)).toMatch(/^help: rename layers\.0\.\\/);
    const debug = failureText(failureOf(error), plain, true);
    expect(debug).not.toMatch(OBEYED);
    expect(debug).toMatch(/^\s+at /m);
  });
});

it("what is no control character stays as it is", () => {
  const name = "modèle.層.🙂.weight";
  expect(renderText(documentOf(name), { color: false })).toContain(`note: ${name}`);
});

import { extname } from "node:path";
import { UsageError } from "../base/errors.ts";
import type { ReportDocument } from "./document.ts";
import { renderHtml } from "./html.ts";
import { renderJson } from "./json.ts";
import { renderJunit } from "./junit.ts";
import { renderMarkdown } from "./markdown.ts";

export type Renderer = (document: ReportDocument) => string;

const RENDERERS: Readonly<Record<string, Renderer>> = {
  json: renderJson,
  xml: renderJunit,
  md: renderMarkdown,
  html: renderHtml,
};

/** The renderer of a format by its extension, without the dot; undefined for any other word. */
export const rendererOf = (format: string): Renderer | undefined =>
  Object.hasOwn(RENDERERS, format) ? RENDERERS[format] : undefined;

/** The renderer that a report's file name asks for. Throws UsageError for any other extension. */
export function rendererFor(file: string): Renderer {
  const renderer = rendererOf(extname(file).toLowerCase().slice(1));
  if (renderer === undefined) {
    throw new UsageError("REPORT_FORMAT_UNKNOWN", `--report ${file}: the extension names no report format`, {
      file,
      expected: Object.keys(RENDERERS)
        .map((name) => `.${name}`)
        .join(", "),
      found: extname(file) || "no extension",
      help: "name the report *.json, *.xml (JUnit), *.md or *.html, or put the format before it: --report md:FILE",
    });
  }
  return renderer;
}

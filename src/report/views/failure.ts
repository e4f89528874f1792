// An error as the contract shows it: on stderr, in JSON and in reports.
import type { Failure } from "../../base/failure.ts";
import type { ReportDocument } from "../document.ts";
import { visible, visibleLines } from "../escape.ts";
import { paint, type TextStyle } from "../text.ts";

/** Lines for stderr: code and message first, the way out last. `debug` shows the stack, too. */
export function failureText({ code, message, details, stack }: Failure, style: TextStyle, debug = false): string {
  const lines = [`${paint(style, "red", `error[${code}]`)}: ${visible(message)}`];
  for (const name of ["tensor", "file", "expected", "found"] as const) {
    const value = details[name];
    if (value !== undefined && !message.includes(value)) lines.push(`  ${`${name}:`.padEnd(9)} ${visible(value)}`);
  }
  if (debug && stack !== undefined) lines.push(visibleLines(stack));
  lines.push(`help: ${visible(details.help)}`);
  return `${lines.join("\n")}\n`;
}

export function failureJson({ code, message, details }: Failure): object {
  const { tensor, file, expected, found, help } = details;
  return { verdict: "error", error: { code, message, tensor, file, expected, found, help } };
}

/** @param title of the run that failed */
export function failureDocument(title: string, failure: Failure): ReportDocument {
  const { code, message, details } = failure;
  const { tensor, file, expected, found, help } = details;
  const headline = `error[${code}]: ${message}`;
  return {
    title,
    data: failureJson(failure),
    verdict: "error",
    headline,
    facts: Object.entries({ tensor, file, expected, found, help }).flatMap(([label, value]) =>
      value === undefined ? [] : [{ label, value }],
    ),
    checks: [{ name: title, status: "failed", detail: headline }],
    tables: [],
    notes: [],
  };
}

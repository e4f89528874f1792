// Reports of real runs, which views are tested with: `stored/runs.json` has the commands, `stored/make.mjs` runs them again.
import { readFileSync } from "node:fs";
import type { ReportDocument } from "../../src/report/document.ts";
import { renderText } from "../../src/report/text.ts";

const place = new URL("stored/", import.meta.url);
const read = (name: string) => JSON.parse(readFileSync(new URL(`${name}.json`, place), "utf8"));

/** The command that a stored report is of. */
export const runOf = (name: string): readonly string[] => read("runs")[name];

/** @typeParam T what the command's core gives; tests of commands hold the shape of stored reports to that of new ones */
export const stored = <T>(name: string): T => read(name);

export const textOf = (document: ReportDocument): string => renderText(document, { color: false });

/** Every field with its type, those of all elements of an array together: what two runs of one kind have in common. */
export function shapeOf(value: unknown, path = ""): ReadonlySet<string> {
  if (Array.isArray(value)) return new Set(value.flatMap((each) => [...shapeOf(each, `${path}[]`)]));
  if (typeof value !== "object" || value === null)
    return new Set([`${path}: ${value === null ? "null" : typeof value}`]);
  return new Set(Object.entries(value).flatMap(([name, each]) => [...shapeOf(each, `${path}.${name}`)]));
}

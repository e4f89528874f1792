// Reports of real runs, which views are tested with: `stored/runs.json` has the commands, `stored/make.mjs` runs them again.
import { readFileSync } from "node:fs";
import type { ParityReport } from "../../src/parity/parity.ts";
import type { ReportDocument } from "../../src/report/document.ts";
import { renderText } from "../../src/report/text.ts";

const place = new URL("stored/", import.meta.url);
const read = (name: string) => JSON.parse(readFileSync(new URL(`${name}.json`, place), "utf8"));

/** The command that a stored report is of. */
export const runOf = (name: string): readonly string[] => read("runs")[name];

/** @typeParam T what the command's core gives; tests of commands hold the shape of stored reports to that of new ones */
export const stored = <T>(name: string): T => read(name);

/** JSON has null where a number is NaN; of these parts of a report no number is null otherwise. */
const withNaN = <T>(part: T): T => JSON.parse(JSON.stringify(part), (_, value) => value ?? Number.NaN);

export function storedParity(name: string): ParityReport {
  const found = stored<ParityReport>(name);
  if (found.nonFinite === null) return found;
  const { metrics, positions, nextTokens, logits } = found;
  return {
    ...found,
    metrics: withNaN(metrics),
    positions: withNaN(positions),
    nextTokens: withNaN(nextTokens),
    logits: withNaN(logits),
  };
}

export const textOf = (document: ReportDocument): string => renderText(document, { color: false });

/** Every field with its type, those of all elements of an array together: what two runs of one kind have in common. */
export function shapeOf(value: unknown, path = ""): ReadonlySet<string> {
  if (Array.isArray(value)) return new Set(value.flatMap((each) => [...shapeOf(each, `${path}[]`)]));
  if (typeof value !== "object" || value === null)
    return new Set([`${path}: ${value === null ? "null" : typeof value}`]);
  return new Set(Object.entries(value).flatMap(([name, each]) => [...shapeOf(each, `${path}.${name}`)]));
}

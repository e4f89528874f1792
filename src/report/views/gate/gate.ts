// What `gate` shows: a section a checkpoint, each with the page that `check` would print.
import type { GateReport, GateResult } from "../../../gate/file/run.ts";
import type { ReportDocument, Section } from "../../document.ts";
import { formatSeconds, plural } from "../../units.ts";
import { checkSection } from "./check.ts";

/** @param texts of the tokens that a checkpoint's report names, by its name */
export function gateDocument(
  report: GateReport,
  results: readonly GateResult[],
  texts: ReadonlyMap<string, ReadonlyMap<number, string>> = new Map(),
): ReportDocument {
  const sections = results.map((result) => sectionOf(result, texts));
  const failed = sections.filter(({ verdict }) => verdict !== "pass");
  const all = plural(results.length, "checkpoint");
  return {
    title: "gate",
    data: report,
    verdict: report.verdict,
    headline:
      report.verdict === "pass"
        ? `${all} passed (${formatSeconds(report.seconds)})`
        : `${failed.length} of ${all} failed: ${failed.map(named).join(", ")}`,
    facts: [{ label: "gate", value: report.file }],
    checks: [],
    tables: [],
    notes: [],
    sections,
  };
}

/** What failed of each is among its checks; here the reason is enough. */
function named({ title, diagnoses = [] }: Section): string {
  const [first] = diagnoses;
  return first?.code ? `${title} (${first.code})` : title;
}

function sectionOf(result: GateResult, texts: ReadonlyMap<string, ReadonlyMap<number, string>>): Section {
  const { name } = result;
  if ("report" in result) return checkSection(result.report, name, texts.get(name));
  const { code, message, details } = result.failure;
  return {
    title: name,
    verdict: "error",
    headline: `${code}: ${message}`,
    facts: [],
    checks: [{ name: "it can be read", status: "failed", detail: `${code}: ${message}; ${details.help}` }],
    tables: [],
    notes: [],
    figures: [
      { label: "held", value: "0" },
      { label: "failed", value: "1" },
      { label: "not checked", value: "–" },
      { label: "mean KL", value: "–" },
    ],
  };
}

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
  const failed = report.checks.filter(({ status }) => status === "failed");
  const all = plural(results.length, "checkpoint");
  return {
    title: "gate",
    data: report,
    verdict: report.verdict,
    headline:
      report.verdict === "pass"
        ? `${all} passed (${formatSeconds(report.seconds)})`
        : `${failed.length} of ${all} failed: ${failed.map(({ name, detail }) => `${name}: ${detail ?? ""}`).join("; ")}`,
    facts: [{ label: "gate", value: report.file }],
    checks: [],
    tables: [],
    notes: [],
    sections: results.map((result) => sectionOf(result, texts)),
  };
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

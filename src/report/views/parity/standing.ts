// What `finalize --dry-run` shows of a parity's parts while some are missing: what those there found, and what nobody looked at.
import type { Check } from "../../../base/check.ts";
import { scientific } from "../../../parity/checks/check.ts";
import { partsText, type SharedWeights, type Standing } from "../../../parity/parts/standing.ts";
import type { ReportDocument } from "../../document.ts";
import { plural } from "../../units.ts";

export function standingDocument(standing: Standing): ReportDocument {
  const { path, of, missing, parts, weights } = standing;
  const failed = parts.filter(({ verdict }) => verdict === "fail");
  const there = of - missing.length;
  const absent = `${partsText(missing)} of ${of} ${missing.length === 1 ? "is" : "are"} missing`;
  const found =
    failed.length === 0
      ? `${partsText(numbersOf(parts, "pass"))} passed${there === 1 ? "" : ", each"} by itself`
      : `${partsText(numbersOf(parts, "fail"))} failed: ${failed[0]!.findings[0]}`;
  const checks: Check[] = [
    { name: "all parts are there, and of one plan", status: "failed", detail: `${there} of ${of}; ${absent}` },
    failed.length === 0
      ? { name: "the parts that are there, each by itself", status: "passed", detail: plural(there, "part") }
      : { name: "the parts that are there, each by itself", status: "failed", detail: found },
    ...weightsChecks(weights),
    {
      name: "what the missing parts cover",
      status: "not checked",
      detail: uncovered(standing),
    },
    wholeCheck(`${there} of ${of} parts`),
  ];
  return {
    title: "finalize",
    data: { ...standing, checks },
    verdict: "fail",
    headline: `${path}: NOT shown to be the same model yet: ${absent}; ${found}`,
    facts: [{ label: "next", value: `the same command with --part ${missing[0]}/${of}` }],
    checks,
    tables: [
      {
        title: "Parts",
        columns: [
          { name: "" },
          { name: "covers" },
          { name: "by itself" },
          { name: "mean KL (nats)", align: "right" },
          { name: "parts at" },
        ],
        rows: parts.map(({ part, covers, verdict, klMeanNats, firstDivergence }) => [
          `${part}`,
          covers ?? "missing",
          verdict,
          covers === null ? "" : klMeanNats === null ? "no logits" : scientific(klMeanNats),
          covers === null ? "" : (firstDivergence ?? "nowhere"),
        ]),
        most: 50,
      },
    ],
    notes: [],
  };
}

function uncovered({ by, missing, tokens }: Standing): string {
  const left = tokens.of - tokens.compared;
  const logits = `logits of ${left} of ${plural(tokens.of, "token")} were not compared`;
  if (by === "tokens") return logits;
  return `layers of ${partsText(missing)} were not run${left === 0 ? "" : `; ${logits}`}`;
}

const numbersOf = (parts: Standing["parts"], verdict: Standing["parts"][number]["verdict"]): number[] =>
  parts.filter((part) => part.verdict === verdict).map(({ part }) => part);

/** Tensors that differ may have run: only all parts together tell. */
export function weightsChecks(weights: SharedWeights | null): Check[] {
  if (weights === null) return [];
  const { compared, different } = weights;
  const name = "weights are equal bit for bit, as far as they were compared";
  return different.length === 0
    ? [{ name, status: "passed", detail: `${plural(compared, "tensor")}; the other parts compare the others` }]
    : [
        {
          name,
          status: "not checked",
          detail: `${different.length} of ${plural(compared, "tensor")} differ (${different.slice(0, 3).join(", ")}${different.length > 3 ? ", …" : ""}): whether what differs was run, all parts tell`,
        },
      ];
}

export const wholeCheck = (parts: string): Check => ({
  name: "the model as a whole",
  status: "not checked",
  detail: `${parts} are not enough to tell: finalize does once all are there`,
});

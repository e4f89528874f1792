// What `parity --part i/n` shows: what one part saw by itself. The verdict on the model is that of all parts.
import type { Check } from "../../../base/check.ts";
import { scientific } from "../../../parity/checks/check.ts";
import type { PartRun } from "../../../parity/parts/run-part.ts";
import { partsText } from "../../../parity/parts/standing.ts";
import type { ReportDocument } from "../../document.ts";
import { formatBytes, formatSeconds, plural } from "../../units.ts";
import { divergenceText } from "./diagnoses.ts";
import { weightsChecks, wholeCheck } from "./standing.ts";

export function partDocument(run: PartRun): ReportDocument {
  const { number, of, verdict, covers, folder, wasThere, causes, firstDivergence, backend, missing } = run;
  const checks = checksOf(run);
  const own = `part ${number} of ${of} (${covers})`;
  const found = verdict === "pass" ? "passed by itself" : `FAILED by itself: ${run.findings[0]!.message}`;
  const next = `\`finalize ${folder}\` gives the verdict on the model${missing.length === 0 ? "" : ` once ${partsText(missing)} ${missing.length === 1 ? "is" : "are"} there, too`}`;
  return {
    title: "parity",
    data: { ...run, checks },
    verdict,
    headline: `${own}${wasThere ? ", which was there already," : ""} ${found}; ${next}`,
    diagnoses: causes.map(({ code, explanation, evidence, tensors, fix }) => ({
      code,
      cause: explanation,
      evidence,
      places: tensors.slice(0, 8),
      fixes: [fix],
    })),
    facts: [
      { label: "covers", value: covers },
      { label: "written to", value: folder },
      { label: "backend", value: backend.adapter === null ? backend.name : `${backend.name}, ${backend.adapter}` },
      { label: "took", value: `${formatSeconds(run.seconds)}, ${formatBytes(run.peakRamBytes)} of memory` },
    ],
    checks,
    tables: [],
    notes: firstDivergence === null ? [] : [divergenceText(firstDivergence)],
  };
}

function checksOf({ of, metrics, taps, findings, weights, missing }: PartRun): Check[] {
  const name = "this part by itself";
  const failed = findings.map(({ message }): Check => ({ name, status: "failed", detail: message }));
  const seen = [
    ...(metrics === null ? [] : [`mean KL ${scientific(metrics.klMeanNats)} over ${plural(metrics.tokens, "token")}`]),
    ...(taps.length === 0
      ? []
      : [
          `${plural(taps.length, "tap")} apart by at most ${scientific(Math.max(...taps.map((tap) => tap.relativeRms)))} of their size`,
        ]),
  ];
  const others =
    missing.length === 0
      ? `all ${of} are there now`
      : `${of - missing.length} of ${of} are there, ${partsText(missing)} not yet`;
  return [
    ...(failed.length > 0 ? failed : [{ name, status: "passed" as const, detail: seen.join(", ") }]),
    ...weightsChecks(weights),
    { name: "what the other parts cover", status: "not checked", detail: others },
    wholeCheck(`1 of ${of} parts`),
  ];
}

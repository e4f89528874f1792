// What `parity --part i/n` shows: what one part saw by itself. The verdict on the model is that of all parts.
import type { Check } from "../../../base/check.ts";
import { scientific } from "../../../parity/checks/check.ts";
import type { PartRun } from "../../../parity/parts/run-part.ts";
import type { ReportDocument } from "../../document.ts";
import { formatBytes, formatSeconds, plural } from "../../units.ts";
import { divergenceText } from "./diagnoses.ts";

export function partDocument(run: PartRun): ReportDocument {
  const { number, of, verdict, covers, folder, wasThere, causes, firstDivergence, backend } = run;
  const checks = checksOf(run);
  const own = `part ${number} of ${of} (${covers})`;
  const found = verdict === "pass" ? "nothing differs by more than a whole run may" : run.findings[0]!.message;
  return {
    title: "parity",
    data: { ...run, checks },
    verdict,
    headline: `${own}${wasThere ? ", which was there already" : ""}: ${found}; \`finalize ${folder}\` says what all parts come to`,
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

function checksOf({ of, metrics, taps, findings }: PartRun): Check[] {
  const failed = findings.map(
    ({ message }): Check => ({ name: "this part by itself", status: "failed", detail: message }),
  );
  const seen = [
    ...(metrics === null ? [] : [`mean KL ${scientific(metrics.klMeanNats)} over ${plural(metrics.tokens, "token")}`]),
    ...(taps.length === 0
      ? []
      : [
          `${plural(taps.length, "tap")} apart by at most ${scientific(Math.max(...taps.map((tap) => tap.relativeRms)))} of their size`,
        ]),
  ];
  return [
    ...(failed.length > 0
      ? failed
      : [{ name: "this part by itself", status: "passed" as const, detail: seen.join(", ") }]),
    { name: "the whole run", status: "not checked", detail: `one of ${of} parts` },
  ];
}

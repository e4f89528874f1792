import type { Check } from "../../base/check.ts";
import type { Conversion } from "../../convert/convert.ts";
import type { ReportDocument } from "../document.ts";
import { formatBytes, formatSeconds, plural } from "../units.ts";
import { keptTable, leftOutTable, waivedWords } from "./plan.ts";

/** Whether the data are those that were saved; shown where the files cannot tell. */
export const notCheckedCheck = (notChecked: string | null): Check[] =>
  notChecked === null ? [] : [{ name: "CRC-32 of the source", status: "not checked", detail: notChecked }];

export function convertDocument(result: Conversion): ReportDocument {
  const { to, tensors, bytes, casts, kept, dropped, waived, ties, files, peakRamBytes, seconds, notes } = result;
  const written = files.reduce((sum, file) => sum + file.bytes, 0);
  return {
    title: "convert",
    data: result,
    verdict: "pass",
    outcome: { word: "written", isWarning: waived.length > 0 },
    headline: [
      `${to.path}: ${to.layout} layout, ${to.format}`,
      plural(tensors, "tensor"),
      formatBytes(bytes),
      ...waivedWords(waived),
      `in ${formatSeconds(seconds)} (${formatBytes(written / Math.max(seconds, 1e-3))}/s, ${formatBytes(peakRamBytes)} of memory)`,
    ].join(", "),
    facts: [],
    checks: [
      placesCheck(result),
      ...notCheckedCheck(result.notChecked),
      ...ties.map(({ alias, of }) => ({ name: `${alias} equals ${of}`, status: "passed" as const })),
    ],
    tables: [
      {
        title: "Casts",
        columns: [
          { name: "tensor" },
          { name: "from" },
          { name: "to" },
          { name: "largest relative error", align: "right" },
        ],
        rows: casts.map((cast) => [cast.key, cast.from, cast.to, errorText(cast)]),
      },
      keptTable(kept),
      leftOutTable(dropped),
      {
        title: "Files",
        columns: [{ name: "name" }, { name: "bytes", align: "right" }, { name: "xxh64" }],
        rows: files.map(({ name, bytes: size, xxh64 }) => [name, formatBytes(size), xxh64]),
      },
    ],
    notes,
  };
}

/** What the user let go is lost, and nothing was checked of it: that is no plain pass. */
function placesCheck({ sourceTensors, tensors, waived }: Conversion): Check {
  const name = "every tensor has its place";
  const counts = `${sourceTensors} → ${tensors}`;
  if (waived.length === 0) return { name, status: "passed", detail: counts };
  const placed = `${sourceTensors - waived.length} of ${sourceTensors} have a place, ${waived.length} waived (--allow-drop)`;
  return { name, status: "not checked", detail: `${placed}; ${counts}` };
}

function errorText({ maxRelativeError, vanished }: Conversion["casts"][number]): string {
  if (maxRelativeError === null) return "not measured";
  const error = maxRelativeError.toExponential(2);
  return vanished ? `${error}, ${plural(vanished, "value")} became 0` : error;
}

import type { Conversion } from "../../convert/convert.ts";
import type { ReportDocument } from "../document.ts";
import { formatBytes, formatSeconds } from "../units.ts";
import { keptTable, leftOutTable } from "./plan.ts";

export function convertDocument(result: Conversion): ReportDocument {
  const { to, tensors, bytes, casts, kept, dropped, ties, files, peakRamBytes, seconds, notes } = result;
  const written = files.reduce((sum, file) => sum + file.bytes, 0);
  return {
    command: "convert",
    data: result,
    verdict: "pass",
    headline: `${to.path}: ${tensors} tensors, ${formatBytes(bytes)}, in ${formatSeconds(seconds)} (${formatBytes(written / Math.max(seconds, 1e-3))}/s, ${formatBytes(peakRamBytes)} of memory)`,
    facts: [],
    checks: [
      { name: "every tensor has its place", status: "passed", detail: `${result.sourceTensors} → ${tensors}` },
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
        rows: casts.map(({ key, from, to: dtype, maxRelativeError }) => [
          key,
          from,
          dtype,
          maxRelativeError === null ? "not measured" : maxRelativeError.toExponential(2),
        ]),
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

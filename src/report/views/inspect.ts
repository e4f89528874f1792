import type { Leftover } from "../../output/leftovers.ts";
import type { Inspection } from "../../verify/inspect.ts";
import type { Fact, ReportDocument } from "../document.ts";
import { formatBytes, formatCount, formatShape, plural } from "../units.ts";
import { leftoverNotes } from "./clean.ts";
import { leftOutTable } from "./plan.ts";

/** An unknown family is an answer, not a failure. */
export function inspectDocument(inspection: Inspection, leftovers: readonly Leftover[] = []): ReportDocument {
  const { format, family, layout, tensors, others, problems } = inspection;
  const apart = new Set(others.map(({ key }) => key));
  return {
    command: "inspect",
    data: leftovers.length === 0 ? inspection : { ...inspection, leftovers },
    verdict: "pass",
    headline:
      family === null
        ? `${format}, of no known family: only --to raw can convert it`
        : `${family} in layout ${layout}, as ${format}${problems.length > 0 ? `; ${plural(problems.length, "problem")}` : ""}`,
    facts: facts(inspection),
    checks: [],
    tables: [
      {
        title: "Tensors",
        columns: [{ name: "key" }, { name: "dtype" }, { name: "shape" }, { name: "bytes", align: "right" }],
        rows: tensors
          .filter(({ key }) => !apart.has(key))
          .map(({ key, dtype, shape, bytes }) => [key, dtype, formatShape(shape), formatBytes(bytes)]),
      },
      { ...leftOutTable(others), title: "Left alone" },
      {
        title: "Problems",
        columns: [{ name: "code" }, { name: "what" }, { name: "help" }],
        rows: problems.map(({ code, message, help }) => [code, message, help]),
      },
    ],
    notes: leftoverNotes(leftovers),
  };
}

function facts(inspection: Inspection): Fact[] {
  const { format, family, layout, prefix, config, files, ranks, parameters, bytes, dtypes, tensors } = inspection;
  const dtypeList = Object.entries(dtypes).map(([dtype, count]) => `${dtype} × ${formatCount(count)}`);
  return [
    {
      label: "format",
      value: `${format}, ${plural(files.length, "file")}${ranks === null ? "" : ` of ${plural(ranks, "rank")}`}`,
    },
    { label: "family", value: family ?? "unknown" },
    {
      label: "layout",
      value: layout === null ? "unknown" : prefix === "" ? layout : `${layout}, under "${prefix}"`,
    },
    { label: "config", value: config ?? "none" },
    { label: "tensors", value: formatCount(tensors.length) },
    { label: "parameters", value: formatCount(parameters) },
    { label: "bytes", value: formatBytes(bytes) },
    { label: "dtypes", value: dtypeList.join(", ") || "none" },
  ];
}

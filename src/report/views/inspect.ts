import type { Check } from "../../base/check.ts";
import type { Leftover } from "../../output/leftovers.ts";
import type { Inspection } from "../../verify/inspect.ts";
import type { Fact, ReportDocument, Table } from "../document.ts";
import { countOf, type Group, groupedBy, groupNotes, hasMany, type ListStyle, MOST_GROUPS } from "../groups.ts";
import { formatBytes, formatCount, formatShape, plural } from "../units.ts";
import { leftoverNotes } from "./clean.ts";
import { leftOutTable } from "./plan.ts";

/** An unknown family is an answer, not a failure. */
export function inspectDocument(
  inspection: Inspection,
  leftovers: readonly Leftover[] = [],
  style: ListStyle = {},
): ReportDocument {
  const { family, others, problems } = inspection;
  const groups = tensorGroups(inspection, style);
  return {
    title: "inspect",
    data: leftovers.length === 0 ? inspection : { ...inspection, leftovers },
    verdict: "pass",
    outcome:
      problems.length > 0
        ? { word: plural(problems.length, "problem"), isWarning: true }
        : { word: "inspected", isWarning: family === null },
    headline: family === null ? unreadHeadline(inspection) : readHeadline(inspection),
    facts: facts(inspection),
    checks: [problemCheck(inspection)],
    tables: [
      tensorTable(groups, style),
      { ...leftOutTable(others), title: "Left alone" },
      {
        title: "Problems",
        columns: [{ name: "code" }, { name: "what" }, { name: "help" }],
        rows: problems.map(({ code, message, help }) => [code, message, help]),
      },
    ],
    notes: [...inspection.notes, ...groupNotes(groups), ...leftoverNotes(leftovers)],
  };
}

/** A problem ends no inspection: whether it can be converted is then what is not known. */
function problemCheck({ problems, family }: Inspection): Check {
  const name = "headers show nothing that a conversion would stop at";
  if (problems.length === 0 && family !== null) return { name, status: "passed" };
  const told = problems.map(({ code }) => code).join(", ");
  return { name, status: "not checked", detail: told || "of no known family" };
}

const readHeadline = ({ family, layout, format, problems }: Inspection): string =>
  `${family} in layout ${layout}, as ${format}${problems.length > 0 ? `; ${plural(problems.length, "problem")}` : ""}`;

function unreadHeadline({ format, quantised }: Inspection): string {
  if (quantised === undefined) return `${format}, of no known family: only --to raw can convert it`;
  const { family, method } = quantised;
  const whose = family === null ? "weights" : `${family} by its config,`;
  return `${format}, ${whose} quantised by ${method}, which is not read here: only --to raw can convert it`;
}

type Tensor = Inspection["tensors"][number];

function tensorGroups({ tensors, others }: Inspection, style: ListStyle): Group<Tensor>[] {
  const apart = new Set(others.map(({ key }) => key));
  const own = tensors.filter(({ key }) => !apart.has(key));
  return groupedBy(
    own,
    ({ key }) => key,
    ({ dtype, shape }) => `${dtype} ${shape.join()}`,
    style,
  );
}

function tensorTable(groups: readonly Group<Tensor>[], { all = false }: ListStyle): Table {
  const shown = all ? groups : groups.slice(0, MOST_GROUPS);
  const counts = hasMany(groups) ? [{ name: "tensors", align: "right" as const }] : [];
  return {
    title: "Tensors",
    columns: [{ name: "key" }, ...counts, { name: "dtype" }, { name: "shape" }, { name: "bytes", align: "right" }],
    rows: shown.map((group) => {
      const { dtype, shape } = group.members[0]!;
      const bytes = group.members.reduce((sum, member) => sum + member.bytes, 0);
      return [group.name, ...counts.map(() => countOf(group)), dtype, formatShape(shape), formatBytes(bytes)];
    }),
    unlisted: groups.length - shown.length,
  };
}

function facts(inspection: Inspection): Fact[] {
  const { format, family, layout, prefix, config, weightFiles, ranks, parameters, bytes, dtypes, tensors } = inspection;
  const dtypeList = Object.entries(dtypes).map(([dtype, count]) => `${dtype} × ${formatCount(count)}`);
  return [
    {
      label: "format",
      value: `${format}, ${plural(weightFiles.length, "file")}${ranks === null ? "" : ` of ${plural(ranks, "rank")}`}`,
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

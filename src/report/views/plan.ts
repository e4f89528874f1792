// A conversion's plan for people and for --json.
import type { Check } from "../../base/check.ts";
import type { Conversion } from "../../convert/convert.ts";
import type { ConversionPlan } from "../../convert/plan.ts";
import { commitOf } from "../../formats/io/folder.ts";
import type { MappedTensor } from "../../views/mapping.ts";
import type { Fact, ReportDocument, Table } from "../document.ts";
import { countOf, type Group, groupedBy, groupNotes, hasMany, type ListStyle, MOST_GROUPS } from "../groups.ts";
import type { BarsPlot } from "../plots/plot.ts";
import { formatBytes, formatCount, formatShape, plural } from "../units.ts";
import { mergeFacts, mergePlanTables } from "./merge/merged.ts";

export function planDocument(plan: ConversionPlan, style: ListStyle = {}): ReportDocument {
  const groups = plannedGroups(plan, style);
  return {
    title: "plan",
    data: planJson(plan),
    verdict: "pass",
    outcome: { word: "planned", isWarning: plan.waived.length > 0 },
    headline: [
      `${plan.from.name} → ${plan.to.name}: ${formatBytes(plan.diskBytes)} to write`,
      ...waivedWords(plan.waived),
      "nothing is written yet",
    ].join("; "),
    facts: planFacts(plan),
    checks: planChecks(plan),
    plots: bytesByType(plan),
    tables: planTables(plan, groups, style.all ?? false),
    notes: [...plan.notes, ...groupNotes(groups)],
  };
}

/** From headers alone. */
function planChecks({ mapping, waived, ...plan }: ConversionPlan): Check[] {
  const [from, to] = [plan.mappings[0]!.source.tensors.size, mapping.tensors.size];
  const values = [
    ...(plan.mappings.some(({ equalities }) => equalities.length > 0) ? ["ties"] : []),
    ...(mapping.dropped.length > 0 ? ["what is left out"] : []),
    ...(plan.casts.length > 0 ? ["casts"] : []),
  ];
  const of = values.length === 0 ? "" : ` (${values.join(", ")})`;
  return [
    placesCheck({ sourceTensors: from, tensors: to, waived }),
    { name: `values${of}`, status: "not checked", detail: "headers alone are read; the conversion looks at them" },
  ];
}

/** What the user let go is lost, and nothing was checked of it: that is no plain pass. */
export function placesCheck({
  sourceTensors,
  tensors,
  waived,
}: Pick<Conversion, "sourceTensors" | "tensors" | "waived">): Check {
  const name = "every tensor has its place";
  const counts = `${sourceTensors} → ${tensors}`;
  if (waived.length === 0) return { name, status: "passed", detail: counts };
  const placed = `${sourceTensors - waived.length} of ${sourceTensors} have a place, ${waived.length} waived (--allow-drop)`;
  return { name, status: "not checked", detail: `${placed}; ${counts}` };
}

/** What a cast or a drop does to the size; nothing to see where neither is. */
function bytesByType({ mapping, casts }: ConversionPlan): BarsPlot[] {
  const [before, after] = [mapping.source.tensors.values(), [...mapping.tensors.values()].map(({ info }) => info)].map(
    (tensors) => {
      const bytes = new Map<string, number>();
      for (const { dtype, byteLength } of tensors) bytes.set(dtype, (bytes.get(dtype) ?? 0) + byteLength);
      return bytes;
    },
  );
  if (casts.length === 0) return [];
  const types = [...new Set([...before!.keys(), ...after!.keys()])];
  return [
    {
      kind: "bars",
      title: "Bytes by type",
      about: "What is read and what is to be written, by element type.",
      x: { label: "bytes", as: "bytes" },
      series: ["before", "after"],
      groups: types.map((name) => ({ name, values: [before!.get(name) ?? 0, after!.get(name) ?? 0] })),
    },
  ];
}

/** For headlines. */
export const waivedWords = (waived: ConversionPlan["waived"]): string[] =>
  waived.length === 0 ? [] : [`${plural(waived.length, "tensor")} waived and left out`];

export function planFacts({
  source,
  target,
  family,
  from,
  to,
  mapping,
  casts,
  kept,
  dropped,
  ...plan
}: ConversionPlan): Fact[] {
  const weights = plan.files.filter(({ parts }) => parts.some(({ kind }) => kind === "tensor"));
  const left = new Map<string, number>();
  for (const { reason } of dropped) left.set(reason, (left.get(reason) ?? 0) + 1);
  return [
    { label: "family", value: family ?? "any (raw)" },
    { label: "from", value: `${from.name}, ${source.format}` },
    { label: "to", value: `${to.name}, ${target.format}, ${plural(weights.length, "weight file")}` },
    { label: "tensors", value: `${formatCount(mapping.source.tensors.size)} → ${formatCount(mapping.tensors.size)}` },
    ...mergeFacts(source.merged),
    ...(casts.length > 0 ? [{ label: "casts", value: castSummary(casts) }] : []),
    ...(kept.length > 0 ? [{ label: "kept", value: `${plural(kept.length, "tensor")} that must not be rounded` }] : []),
    ...(left.size > 0
      ? [
          {
            label: "left out",
            value: [...left].map(([reason, count]) => `${formatCount(count)} (${reason})`).join(", "),
          },
        ]
      : []),
    { label: "writes", value: `${formatBytes(plan.diskBytes)} in ${plural(plan.files.length, "file")}` },
    ...(plan.memory.workers > 1 ? [{ label: "threads", value: `${plan.memory.workers}` }] : []),
    { label: "peak memory", value: `at most ${formatBytes(plan.memory.peakBytes)}` },
  ];
}

function castSummary(casts: ConversionPlan["casts"]): string {
  const kinds = new Map<string, number>();
  for (const { from, to } of casts) kinds.set(`${from} → ${to}`, (kinds.get(`${from} → ${to}`) ?? 0) + 1);
  return [...kinds].map(([kind, count]) => `${kind} × ${formatCount(count)}`).join(", ");
}

const MANY = 3;

function plannedGroups({ mapping: { source, tensors } }: ConversionPlan, style: ListStyle): Group<MappedTensor>[] {
  const dtypes = ({ sources }: MappedTensor) =>
    [...new Set(sources.map((key) => source.tensors.get(key)?.dtype))].join(", ");
  const likeness = (each: MappedTensor) =>
    `${dtypes(each)} ${each.info.dtype} ${each.info.shape.join()} ${each.move.rule}`;
  return groupedBy(tensors.values(), ({ info }) => info.key, likeness, style);
}

/** Source keys → target key, with shape, dtype and rule. */
function plannedTable(
  { mapping: { source } }: ConversionPlan,
  groups: readonly Group<MappedTensor>[],
  all: boolean,
): Table {
  const shown = all ? groups : groups.slice(0, MOST_GROUPS);
  const counts = hasMany(groups) ? [{ name: "tensors", align: "right" as const }] : [];
  return {
    title: "Tensors",
    columns: [{ name: "from" }, { name: "to" }, ...counts, { name: "shape" }, { name: "dtype" }, { name: "rule" }],
    rows: shown.map((group) => {
      const { info, move, sources } = group.members[0]!;
      const before = new Set(sources.map((key) => source.tensors.get(key)?.dtype));
      const dtype =
        before.size === 1 && before.has(info.dtype) ? info.dtype : `${[...before].join(", ")} → ${info.dtype}`;
      return [
        sourcesOf(group, all),
        group.name,
        ...counts.map(() => countOf(group)),
        formatShape(info.shape),
        sources.length === 0 ? info.dtype : dtype,
        move.rule,
      ];
    }),
    unlisted: groups.length - shown.length,
  };
}

function sourcesOf({ members }: Group<MappedTensor>, all: boolean): string {
  const sources = members.flatMap((member) => member.sources);
  if (sources.length === 0) return `every element ${members[0]!.move.fill?.value ?? "–"}`;
  const names = groupedBy(
    sources,
    (key) => key,
    () => "",
    { all },
  ).map(({ name }) => name);
  if (names.length <= MANY) return names.join(", ");
  return `${sources[0]} … ${sources.at(-1)} (${formatCount(sources.length)})`;
}

function planTables(plan: ConversionPlan, groups: readonly Group<MappedTensor>[], all: boolean): Table[] {
  const { files, kept, dropped } = plan;
  return [
    ...mergePlanTables(plan.source.merged),
    plannedTable(plan, groups, all),
    keptTable(kept),
    leftOutTable(dropped),
    {
      title: "Files",
      columns: [{ name: "name" }, { name: "bytes", align: "right" }],
      rows: files.map(({ name, byteLength }) => [name, formatBytes(byteLength)]),
    },
  ];
}

/** Tensors that a cast of all weights passed by. */
export const keptTable = (kept: ConversionPlan["kept"]): Table => ({
  title: "Kept in their type (name one with --dtype 'GLOB=TYPE' to cast it)",
  columns: [{ name: "tensor" }, { name: "dtype" }, { name: "why" }],
  rows: kept.map(({ key, dtype, reason }) => [key, dtype, reason]),
});

/**
 * Entries that are not carried over. Trainer state has several entries per weight, so only its roots are listed, each
 * with its number of entries.
 */
export function leftOutTable(entries: ConversionPlan["dropped"]): Table {
  const single = entries.filter(({ reason }) => reason !== "trainer state");
  const roots = new Map<string, number>();
  for (const { key, reason } of entries) {
    if (reason !== "trainer state") continue;
    const root = key.split(".", 1)[0] ?? key;
    roots.set(root, (roots.get(root) ?? 0) + 1);
  }
  return {
    title: "Left out",
    columns: [{ name: "key" }, { name: "why" }],
    rows: [
      ...[...roots].map(([root, count]) => [`${root}.… (${plural(count, "entry", "entries")})`, "trainer state"]),
      ...single.map(({ key, reason }) => [key, reason]),
    ],
  };
}

function planJson(plan: ConversionPlan): object {
  const {
    source,
    target,
    family,
    from,
    to,
    mapping,
    files,
    dropped,
    waived,
    casts,
    kept,
    memory,
    diskBytes,
    leftBehind,
    notes,
  } = plan;
  return {
    verdict: "pass",
    family,
    from: { path: source.path, ...commitOf(source), layout: from.name, format: source.format },
    to: { path: target.path || null, layout: to.name, format: target.format },
    tensors: [...mapping.tensors.values()].map(({ info, move, sources }) => ({
      key: info.key,
      dtype: info.dtype,
      shape: info.shape,
      bytes: info.byteLength,
      from: sources,
      rule: move.rule,
    })),
    bytes: [...mapping.tensors.values()].reduce((sum, { info }) => sum + info.byteLength, 0),
    ties: plan.mappings.flatMap(({ equalities }) => equalities),
    dropped,
    waived,
    casts,
    kept,
    ...(source.merged === undefined
      ? {}
      : { merged: { adapters: source.merged.adapters, tensors: source.merged.tensors } }),
    peakRamBytes: memory.peakBytes,
    diskBytes,
    files: files.map(({ name, byteLength }) => ({ name, bytes: byteLength })),
    leftBehind,
    notes,
  };
}

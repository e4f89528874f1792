// A conversion's plan for people and for --json.
import type { ConversionPlan } from "../../convert/plan.ts";
import type { Fact, ReportDocument, Table } from "../document.ts";
import { formatBytes, formatCount, formatShape, plural } from "../units.ts";

export const planDocument = (plan: ConversionPlan): ReportDocument => ({
  command: "plan",
  data: planJson(plan),
  verdict: "pass",
  headline: `${plan.from.name} → ${plan.to.name}: ${formatBytes(plan.diskBytes)} to write; nothing is written yet`,
  facts: planFacts(plan),
  checks: [],
  tables: planTables(plan),
  notes: plan.notes,
});

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
    { label: "peak memory", value: `at most ${formatBytes(plan.memory.peakBytes)}` },
  ];
}

function castSummary(casts: ConversionPlan["casts"]): string {
  const kinds = new Map<string, number>();
  for (const { from, to } of casts) kinds.set(`${from} → ${to}`, (kinds.get(`${from} → ${to}`) ?? 0) + 1);
  return [...kinds].map(([kind, count]) => `${kind} × ${formatCount(count)}`).join(", ");
}

const MANY = 3;

/** Source keys → target key, with shape, dtype and rule. */
function planTables({ mapping, files, kept, dropped }: ConversionPlan): Table[] {
  const { source, tensors } = mapping;
  return [
    {
      title: "Tensors",
      columns: [{ name: "from" }, { name: "to" }, { name: "shape" }, { name: "dtype" }, { name: "rule" }],
      rows: [...tensors.values()].map(({ info, move, sources }) => {
        const before = new Set(sources.map((key) => source.tensors.get(key)?.dtype));
        const dtype =
          before.size === 1 && before.has(info.dtype) ? info.dtype : `${[...before].join(", ")} → ${info.dtype}`;
        return [
          sources.length > MANY
            ? `${sources[0]} … ${sources.at(-1)} (${formatCount(sources.length)})`
            : sources.join(", ") || `every element ${move.fill?.value ?? "–"}`,
          info.key,
          formatShape(info.shape),
          sources.length === 0 ? info.dtype : dtype,
          move.rule,
        ];
      }),
    },
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
    from: { path: source.path, layout: from.name, format: source.format },
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
    casts,
    kept,
    peakRamBytes: memory.peakBytes,
    diskBytes,
    files: files.map(({ name, byteLength }) => ({ name, bytes: byteLength })),
    leftBehind,
    notes,
  };
}

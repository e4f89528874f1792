// The matrix of what is supported: for `families`, and for the table of the README (scripts/docs.mjs).
import type { Adapter } from "../../family/adapter.ts";
import { graphsOf, type LayoutFacts, layoutsOf } from "../../family/layout.ts";
import { FORMATS } from "../../formats/checkpoint.ts";
import type { ReportDocument, Table } from "../document.ts";
import { plural } from "../units.ts";

export function familiesDocument(rows: readonly FamilyRow[]): ReportDocument {
  return {
    title: "families",
    data: { verdict: "pass", families: rows },
    verdict: "pass",
    outcome: { word: "listed", isWarning: false },
    headline: `${plural(rows.length, "family", "families")}, each between all formats; any checkpoint at all with --to raw`,
    facts: [{ label: "formats", value: FORMATS.join(", ") }],
    checks: [],
    tables: rows.map(familyTable),
    notes: [],
  };
}

/** A family as `families --json` shows it. */
const familyRow = (adapter: Adapter) => ({
  family: adapter.family,
  modelTypes: adapter.modelTypes,
  flavours: adapter.flavours,
  modalities: adapter.modalities,
  layouts: layoutsOf(adapter).map(({ name }) => name),
  encodings: adapter.encodings ?? [],
  known: adapter.known ?? [],
  formats: FORMATS,
  graphs: graphsOf(adapter),
  nativeLayouts: adapter.layouts.map(layoutRow),
  sources: adapter.sources,
});

/** A layout as `families --json` shows it. */
const layoutRow = ({ name, trainer, since, until, ranked, noGraph }: LayoutFacts) => ({
  name,
  trainer,
  since: since ?? null,
  until: until ?? null,
  ranked,
  graph: noGraph === null,
  noGraph,
});

export type FamilyRow = ReturnType<typeof familyRow>;

/** What is supported, one row per family. */
export const families = (adapters: readonly Adapter[]): FamilyRow[] => adapters.map(familyRow);

const list = (items: readonly string[], none = "none"): string => items.join(", ") || none;
const graphList = ({ graphs }: FamilyRow): string => list(graphs, "none yet");

/** With the names of the properties, 80. */
const WIDTH = 68;

/** One family, one property per line; long lists go on below. */
function familyTable(row: FamilyRow): Table {
  const properties = [
    ["flavours", list(row.flavours)],
    ["modalities", list(row.modalities)],
    ["layouts", list(row.layouts)],
    ["encodings", list(["plain", ...row.encodings])],
    ["graphs", graphList(row)],
  ] as const;
  const [first = "", ...more] = wrapped(list(row.modelTypes), WIDTH);
  return {
    title: row.family,
    columns: [{ name: "model_type" }, { name: first }],
    rows: [
      ...more.map((line) => ["", line]),
      ...properties.flatMap(([name, text]) => wrapped(text, WIDTH).map((line, i) => [i === 0 ? name : "", line])),
    ],
  };
}

/** Lines of at most `width` characters, broken after commas. */
function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const item of text.split(/(?<=,) /)) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + item.length <= width) lines[lines.length - 1] = `${last} ${item}`;
    else lines.push(item);
  }
  return lines;
}

const TYPES_SHOWN = 4;

/** All families as one table of Markdown, and which layouts have no forward graph. */
const KNOWN =
  "Trainers compute some things otherwise than transformers. Where a config has one of these, `parity` of a trainer's checkpoint against Hugging Face's fails unless it is accepted ([how far each goes](docs/numerics.md#graphs)):";

export function familiesMarkdown(adapters: readonly Adapter[]): string {
  const rows = families(adapters);
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const code = (items: readonly string[]) => items.map((item) => `\`${item}\``).join(", ");
  const types = ({ modelTypes }: FamilyRow) =>
    modelTypes.length <= TYPES_SHOWN
      ? code(modelTypes)
      : `${code(modelTypes.slice(0, TYPES_SHOWN))} and ${modelTypes.length - TYPES_SHOWN} more`;
  return [
    line(["family", "`model_type`", "flavours", "modalities", "native layouts", "encodings", "graphs"]),
    line(Array(7).fill("---")),
    ...rows.map((row) =>
      line([
        `\`${row.family}\``,
        types(row),
        list(row.flavours),
        list(row.modalities),
        code(row.nativeLayouts.map(({ name }) => name)),
        list(["plain", ...row.encodings]),
        graphList(row),
      ]),
    ),
    ...withoutGraph(rows).map(
      (names) => `\nEvery layout has a forward graph, which \`parity\` runs, but these: ${code(names)}.`,
    ),
    `\n${KNOWN}\n`,
    line(["family", "`--accept-known` is enough for", "by name, `--accept-known=CODE`"]),
    line(Array(3).fill("---")),
    ...rows
      .filter(({ known }) => known.length > 0)
      .map(({ family, known }) => {
        const codes = (isSmall: boolean) =>
          code(known.flatMap((each) => ((each.smallKlNats !== undefined) === isSmall ? [each.code] : [])));
        return line([`\`${family}\``, codes(true), codes(false)]);
      }),
  ].join("\n");
}

/** Names of the layouts that no family has a graph of; none where there are no such. */
function withoutGraph(rows: readonly FamilyRow[]): string[][] {
  const layouts = rows.flatMap(({ nativeLayouts }) => nativeLayouts);
  const names = [...new Set(layouts.filter(({ graph }) => !graph).map(({ name }) => name))].toSorted();
  return names.length === 0 ? [] : [names];
}

// What was merged, for people: a fact an adapter, and a table of tensors.
import type { Check } from "../../../base/check.ts";
import type { MergeReport } from "../../../convert/convert.ts";
import type { Merged, MergedTensor } from "../../../formats/checkpoint.ts";
import type { Fact, Table } from "../../document.ts";
import { plural } from "../../units.ts";

const changesOf = ({ products, replaced }: Merged["adapters"][number]): string =>
  [...(products > 0 ? [plural(products, "product")] : []), ...(replaced > 0 ? [`${replaced} replaced`] : [])].join(
    ", ",
  );

export const mergeFacts = (merged: Pick<Merged, "adapters"> | undefined): Fact[] =>
  (merged?.adapters ?? []).map((adapter) => ({
    label: "merges",
    value: `${adapter.path}: ${changesOf(adapter)}, sha256 ${adapter.sha256.slice(0, 16)}`,
  }));

const whatOf = ({ kind, rank, scale, from }: MergedTensor): string[] => {
  const number = scale === null ? "" : `${Number(scale.toPrecision(6))}`;
  return [from ?? "", kind, rank === null ? "" : `${rank}`, number];
};

const COLUMNS = [
  { name: "tensor" },
  { name: "from" },
  { name: "kind" },
  { name: "rank", align: "right" as const },
  { name: "scale", align: "right" as const },
];

/** Of a plan. */
export const mergePlanTables = (merged: Merged | undefined): Table[] =>
  merged === undefined
    ? []
    : [
        {
          title: "To be merged",
          columns: COLUMNS,
          rows: merged.tensors.map((each) => [each.key, ...whatOf(each)]),
          most: MOST,
        },
      ];

const MOST = 40;

/** Of a conversion. */
export const mergeTables = (merged: MergeReport | undefined): Table[] =>
  merged === undefined
    ? []
    : [
        {
          title: "Merged",
          columns: [
            ...COLUMNS,
            { name: "norm of the delta", align: "right" },
            { name: "largest change", align: "right" },
            { name: "changed elements", align: "right" },
          ],
          rows: merged.tensors.map((each) => [
            each.key,
            ...whatOf(each),
            each.measured?.deltaNorm.toPrecision(4) ?? "not seen",
            each.measured?.maxChange.toPrecision(4) ?? "not seen",
            `${each.measured?.changed ?? "not seen"}`,
          ]),
          most: MOST,
        },
      ];

/** Whether every change shows in the bits. One that a run before this wrote was not seen. */
export function mergeChecks(merged: MergeReport | undefined): Check[] {
  if (merged === undefined) return [];
  const name = "each change of the adapter shows in its tensor";
  const seen = merged.tensors.filter(({ measured }) => measured !== null);
  if (seen.length < merged.tensors.length) {
    const detail = `${seen.length} of ${plural(merged.tensors.length, "change")}: the others were not seen whole: an earlier run wrote of them, or parts made the same elements`;
    return [{ name, status: "not checked", detail }];
  }
  const still = seen.filter(({ measured }) => measured?.changed === 0).map(({ key }) => key);
  if (still.length === 0) return [{ name, status: "passed", detail: plural(seen.length, "change") }];
  const why = "their deltas are zero, or vanish where they are rounded to the type of the base";
  return [
    {
      name,
      status: "not checked",
      detail: `${plural(still.length, "tensor")} stayed as they were, such as "${still[0]}": ${why}`,
    },
  ];
}

// A merged model against base and adapters, for people.
import { type CheckedChange, type MergeCheck, WORDS } from "../../../verify/merge/check-merge.ts";
import type { Diagnosis, ReportDocument, Table } from "../../document.ts";
import { formatSeconds, plural } from "../../units.ts";
import { differenceTable } from "../differences.ts";
import { mergeFacts } from "./merged.ts";

export function mergeCheckDocument(result: MergeCheck): ReportDocument {
  const { verdict, merged, base, changes, differences, checks, notes, seconds } = result;
  const place = ({ path, layout, format }: MergeCheck["base"]) => `${path} (${layout}, ${format})`;
  return {
    title: "check",
    data: result,
    verdict,
    headline: `${verdict === "pass" ? "merged as asked" : "not merged as asked"}: ${summary(changes)}, ${plural(differences.length, "other difference")} in ${plural(result.tensors, "tensor")} (${formatSeconds(seconds)})`,
    diagnoses: diagnosesOf(result),
    facts: [{ label: "merged", value: place(merged) }, { label: "base", value: place(base) }, ...mergeFacts(result)],
    checks,
    tables: [changeTable(changes), differenceTable(differences)],
    notes,
    seconds,
  };
}

function summary(changes: readonly CheckedChange[]): string {
  const counts = new Map<CheckedChange["state"], number>();
  for (const { state } of changes) counts.set(state, (counts.get(state) ?? 0) + 1);
  return [...counts].map(([state, count]) => `${count} ${WORDS[state]}`).join(", ");
}

/** What did not go as asked comes first. */
const MOST = 50;
const ORDER: readonly CheckedChange["state"][] = ["once", "rounded", "vanished"];

function changeTable(changes: readonly CheckedChange[]): Table {
  const rank = ({ state }: CheckedChange) => ORDER.indexOf(state);
  return {
    title: "Changes of the adapter",
    columns: [
      { name: "tensor" },
      { name: "what" },
      { name: "rank", align: "right" },
      { name: "scale", align: "right" },
      { name: "found" },
      { name: "factor", align: "right" },
    ],
    rows: changes
      .toSorted((x, y) => rank(x) - rank(y))
      .map(({ key, changes: asked, state, factor }) => [
        key,
        asked.map(({ kind }) => kind).join(", "),
        asked.map(({ rank: own }) => own ?? "").join(", "),
        asked.map(({ scale }) => (scale === null ? "" : Number(scale.toPrecision(6)))).join(", "),
        WORDS[state],
        factor === null ? "" : factor.toPrecision(4),
      ]),
    most: MOST,
  };
}

function diagnosesOf({ changes, merged, base, adapters }: MergeCheck): Diagnosis[] {
  const again = `convert-checkpoint convert ${base.path} OUT${adapters.map(({ path }) => ` --merge-adapter ${path}`).join("")}`;
  return CAUSES.flatMap(({ code, states, cause }) => {
    const own = changes.filter(({ state }) => states.includes(state));
    if (own.length === 0) return [];
    const factors = own.flatMap(({ factor }) => factor ?? []);
    const evidence =
      factors.length === 0 ? {} : { evidence: `by least squares ${factors[0]!.toPrecision(4)} times the delta` };
    return [
      {
        code,
        cause: `${own.length} of ${plural(changes.length, "changed tensor")} of ${merged.path}: ${cause}`,
        ...evidence,
        places: own.map(({ key }) => key),
        fixes: [`merge into the base itself: ${again}`],
      },
    ];
  });
}

const CAUSES: readonly {
  readonly code: string;
  readonly states: readonly CheckedChange["state"][];
  readonly cause: string;
}[] = [
  { code: "DELTA_LOST", states: ["lost"], cause: "they are the base's, without the delta" },
  {
    code: "DELTA_TWICE",
    states: ["twice"],
    cause: "the delta is in them twice: a model that was merged already was merged again",
  },
  {
    code: "DELTA_SCALED",
    states: ["subtracted", "scaled"],
    cause: "another multiple of the delta is in them: another alpha, rank or √rank was taken",
  },
  {
    code: "DELTA_OTHER",
    states: ["otherwise", "missing"],
    cause: "no multiple of the delta makes them of the base: another base, another adapter, or trained on",
  },
];

import type { KindList } from "../../../mutate/list.ts";
import type { Mutation } from "../../../mutate/mutate.ts";
import type { ReportDocument } from "../../document.ts";
import { formatBytes, plural } from "../../units.ts";

const SHOWN = 8;

export function mutateDocument(result: Mutation): ReportDocument {
  const { kind, code, about, place, tensors, fields, stored, to, files } = result;
  return {
    title: "mutate",
    data: result,
    verdict: "pass",
    outcome: { word: "written", isWarning: code !== null },
    headline: `${to.path}: ${kind} in ${place}; ${code === null ? "no check may refuse it" : `reports must say ${code}`}`,
    facts: [
      { label: "fault", value: about },
      { label: "tensors", value: named(tensors) },
      { label: "fields", value: named(fields) },
      { label: "in the files", value: named(stored) },
      { label: "layout", value: `${to.layout}, ${to.format}, as ${result.from}` },
    ].filter(({ value }) => value !== ""),
    checks: [],
    tables: [
      {
        title: "Files",
        columns: [{ name: "name" }, { name: "bytes", align: "right" }, { name: "xxh64" }],
        rows: files.map(({ name, bytes, xxh64 }) => [name, formatBytes(bytes), xxh64]),
      },
    ],
    notes: ["all that is not named here is as in the good checkpoint, a record of it included"],
  };
}

const named = (keys: readonly string[]): string =>
  keys.slice(0, SHOWN).join(", ") + (keys.length > SHOWN ? ` and ${keys.length - SHOWN} more` : "");

export function kindsDocument(result: KindList): ReportDocument {
  const { of, kinds } = result;
  const columns = [{ name: "fault" }, { name: "named as" }, { name: "what is wrong" }] as const;
  return {
    title: "mutate",
    data: result,
    verdict: "pass",
    outcome: { word: "listed", isWarning: false },
    headline:
      of === null
        ? plural(kinds.length, "kind of fault", "kinds of fault")
        : `${of}: ${plural(kinds.length, "kind of fault", "kinds of fault")} can be made`,
    facts: [],
    checks: [],
    tables: [
      {
        title: "Faults",
        columns:
          of === null ? columns : [...columns.slice(0, 1), { name: "places", align: "right" }, ...columns.slice(1)],
        rows: kinds.map(({ kind, code, about, places }) => [
          kind,
          ...(places === null ? [] : [String(places.length)]),
          code ?? "no fault",
          about,
        ]),
      },
    ],
    notes: [],
  };
}

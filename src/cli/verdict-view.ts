import type { Check, Table } from "../report/document.ts";
import type { Difference } from "../views/difference.ts";

/** Rows shown; the JSON document has them all. */
const MOST = 50;

export function differenceTable(differences: readonly Difference[]): Table {
  const more = differences.length - MOST;
  return {
    title: more > 0 ? `Differences (the first ${MOST} of ${differences.length}; --json has all)` : "Differences",
    columns: [{ name: "tensor" }, { name: "kind" }, { name: "what" }],
    rows: differences.slice(0, MOST).map(({ key, kind, detail }) => [key, kind, detail]),
  };
}

export const check = (name: string, holds: boolean, detail?: string): Check => ({
  name,
  status: holds ? "pass" : "fail",
  ...(detail === undefined ? {} : { detail }),
});

// What `roundtrip`, `diff` and `validate` show alike.
import type { Check } from "../../base/check.ts";
import type { Difference } from "../../views/difference.ts";
import type { Table } from "../document.ts";

/** Rows shown: they tell the kind of fault, and the names of many more would hide the rest of the report. */
const MOST = 50;

export const differenceTable = (differences: readonly Difference[]): Table => ({
  title: "Differences",
  columns: [{ name: "tensor" }, { name: "kind" }, { name: "what" }],
  rows: differences.map(({ key, kind, detail }) => [key, kind, detail]),
  most: MOST,
});

export const check = (name: string, holds: boolean, detail?: string): Check => ({
  name,
  status: holds ? "passed" : "failed",
  ...(detail === undefined ? {} : { detail }),
});

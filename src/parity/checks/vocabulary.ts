// Whether the input picked every row of the embedding; the others are compared byte for byte alone.
import type { Examine, ParityCheck } from "./check.ts";

export const vocabulary: Examine = ({ evidence: { coverage } }) =>
  coverage.tables.map(({ key, rows, picked }): ParityCheck => {
    const name = `every row of ${key} is read or compared`;
    const read = `${picked.toLocaleString("en-US")} of ${rows.toLocaleString("en-US")} rows read`;
    const { weights } = coverage;
    if (weights === null)
      return { name, status: "not checked", detail: `${read}; a golden says nothing of the others` };
    const differs = weights.different.find((each) => each.key === key)?.notRun ?? null;
    if (differs === null) return { name, status: "passed", detail: `${read}; the others compared byte for byte only` };
    const others =
      differs.rows.length === 1 ? "1 of the others differs" : `${differs.rows.length} of the others differ`;
    return { name, status: "not checked", detail: `${read}; ${others} in bits` };
  });

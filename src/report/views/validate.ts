import type { Validation } from "../../verify/validate.ts";
import type { ReportDocument } from "../document.ts";
import { formatBytes, formatSeconds, plural } from "../units.ts";
import { differenceTable } from "./differences.ts";

export function validateDocument(result: Validation): ReportDocument {
  const { verdict, family, layout, format, tensors, bytes, checks, differences, notes, seconds } = result;
  return {
    title: "validate",
    data: result,
    verdict,
    headline:
      verdict === "pass"
        ? `valid: ${plural(tensors, "tensor")}, ${formatBytes(bytes)} (${formatSeconds(seconds)})`
        : plural(differences.length, "finding"),
    facts: [{ label: "what", value: `${family} in layout ${layout}, ${format}` }],
    checks,
    tables: [differenceTable(differences)],
    notes,
  };
}

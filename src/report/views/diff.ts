import type { Diff } from "../../verify/diff.ts";
import type { Difference } from "../../views/difference.ts";
import type { ReportDocument } from "../document.ts";
import { formatBytes, formatSeconds, plural } from "../units.ts";
import { check, differenceTable } from "./differences.ts";

export function diffDocument(result: Diff): ReportDocument {
  const { verdict, tensors, bytes, differences, keys, seconds } = result;
  const none = (kinds: readonly Difference["kind"][]) => !differences.some(({ kind }) => kinds.includes(kind));
  const place = ({ path, family, layout, format }: Diff["a"]) =>
    `${path} (${family ?? "unknown family"}, ${layout ?? "keys as they are"}, ${format})`;
  return {
    command: "diff",
    data: result,
    verdict,
    headline:
      verdict === "pass"
        ? `equal: ${plural(tensors, "tensor")}, ${formatBytes(bytes)}, bit for bit (${formatSeconds(seconds)})`
        : `${plural(differences.length, "difference")} in ${plural(tensors, "common tensor")}`,
    facts: [
      { label: "a", value: place(result.a) },
      { label: "b", value: place(result.b) },
      { label: "keys of", value: keys },
    ],
    checks: [
      check("same tensors", none(["missing", "extra"])),
      check("same shapes", none(["shape"])),
      check("same dtypes", none(["dtype"])),
      check("same values", none(["values"])),
      check("ties and buffers as they should be", none(["tie", "dropped"])),
    ],
    tables: [differenceTable(differences)],
    notes: [],
  };
}

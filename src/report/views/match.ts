import type { Match } from "../../verify/identity/match.ts";
import type { ReportDocument } from "../document.ts";
import { formatBytes, formatSeconds, plural } from "../units.ts";
import { differenceTable } from "./differences.ts";

export function matchDocument(result: Match): ReportDocument {
  const { verdict, path, family, layout, format, root, expectedRoot, config, differences, checks, notes } = result;
  const value = (of: unknown) => (of === null ? "absent" : JSON.stringify(of));
  return {
    title: "match",
    data: result,
    verdict,
    headline: headline(result),
    facts: [
      { label: "of", value: `${path} (${family ?? "unknown family"}, ${layout ?? "keys as they are"}, ${format})` },
      { label: "root", value: root },
      { label: "root of the seal", value: expectedRoot },
      { label: "config", value: config.sha256 ?? "none of its own" },
      { label: "config of the seal", value: config.expected ?? "none" },
    ],
    checks,
    tables: [
      differenceTable(differences),
      {
        title: "Config",
        columns: [{ name: "field" }, { name: "here" }, { name: "in the seal" }],
        rows: (config.differences ?? []).map(({ field, a, b }) => [field, value(a), value(b)]),
        most: 50,
      },
    ],
    notes,
  };
}

function headline({ verdict, tensors, bytes, differences, config, seconds }: Match): string {
  if (verdict === "pass") {
    const size = `${plural(tensors, "tensor")}, ${formatBytes(bytes)}`;
    return `the model of the seal: ${size}, bit for bit (${formatSeconds(seconds)})`;
  }
  const fields = config.differences?.length ?? 0;
  const found = [
    ...(differences.length > 0 ? [plural(differences.length, "difference")] : []),
    ...(fields > 0 ? [`${plural(fields, "field")} of the config`] : []),
  ];
  return `NOT the model of the seal: ${found.join(", ")} in ${plural(tensors, "common tensor")}`;
}

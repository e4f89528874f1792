import type { Check } from "../../base/check.ts";
import type { RoundTrip } from "../../verify/roundtrip.ts";
import type { ReportDocument } from "../document.ts";
import type { ListStyle } from "../groups.ts";
import { formatBytes, formatSeconds, plural } from "../units.ts";
import { check, differenceTable } from "./differences.ts";

const NO_FILES: Check = {
  name: "every file came back byte for byte",
  status: "not checked",
  detail: "that is for safetensors: other containers are written anew, the same tensors in them",
};

export function roundtripDocument(result: RoundTrip, { all = false }: ListStyle = {}): ReportDocument {
  const { verdict, family, layout, via, tensors, bytes, differences, hashes, files, notChecked, notes, seconds } =
    result;
  const tensorsHold = differences.every(({ kind }) => kind === "file");
  const way = `${layout} → ${via} → ${layout}`;
  return {
    title: "roundtrip",
    data: result,
    verdict,
    headline:
      verdict === "pass"
        ? `${way}: ${plural(tensors, "tensor")}, ${formatBytes(bytes)}, came back bit for bit (${formatSeconds(seconds)})`
        : `${way}: ${plural(differences.length, "difference")}`,
    facts: [
      { label: "family", value: family },
      { label: "way", value: way },
      ...(all
        ? []
        : [{ label: "hashes", value: `${plural(hashes.length, "tensor")}; --all lists them, and so does --json` }]),
    ],
    checks: [
      // Files are told one by one below.
      check("every tensor came back bit for bit", tensorsHold, plural(tensors, "tensor")),
      ...files.map(({ name, xxh64, same }) => check(`${name} came back byte for byte`, same, `xxh64 ${xxh64}`)),
      ...(files.length === 0 ? [NO_FILES] : []),
      ...notChecked,
    ],
    tables: [
      differenceTable(differences),
      {
        title: "Hashes",
        columns: [{ name: "tensor" }, { name: "xxh64" }],
        rows: (all ? hashes : []).map(({ key, xxh64 }) => [key, xxh64]),
      },
    ],
    notes: [...notes, "a round trip proves that the conversion can be undone, not that it is right: see `parity`"],
  };
}

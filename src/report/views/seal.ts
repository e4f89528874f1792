import type { Sealed } from "../../verify/identity/seal.ts";
import { encodeSeal, sealJson } from "../../verify/identity/seal-file.ts";
import type { ReportDocument } from "../document.ts";
import { formatBytes, formatSeconds, plural } from "../units.ts";

const NAMES_OF = { hf: "Hugging Face", raw: "the files" } as const;

/** @param file where the seal was written; null where it goes to stdout */
export function sealDocument({ seal, ...about }: Sealed, file: string | null): ReportDocument {
  const { path, layout, format, bytes, notes, seconds } = about;
  const { view, family, root, config, tensors, encoded, roundingOf } = seal;
  const size = `${plural(tensors.length, "tensor")}, ${formatBytes(bytes)}`;
  return {
    title: "seal",
    data: { verdict: "pass", family, ...about, root, tensors: tensors.length, seal: sealJson(seal) },
    verdict: "pass",
    outcome: { word: "SEALED", isWarning: false },
    headline: `sealed: root ${root} over ${size} (${formatSeconds(seconds)})`,
    facts: [
      { label: "of", value: `${path} (${family ?? "unknown family"}, ${layout ?? "keys as they are"}, ${format})` },
      ...(file === null ? [] : [{ label: "seal", value: file }]),
      { label: "names of", value: NAMES_OF[view] },
      { label: "root", value: root },
      { label: "config", value: config === null ? "none" : config.sha256 },
      ...(encoded === null ? [] : [{ label: "codes and scales", value: encoded.root }]),
      ...(roundingOf === null
        ? []
        : [{ label: "rounding of", value: `${roundingOf.root}, to ${roundingOf.dtypes.join(", ")}` }]),
    ],
    checks: [],
    tables: [],
    notes,
    ...(file === null ? { printed: encodeSeal(seal) } : {}),
  };
}

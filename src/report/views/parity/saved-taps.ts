// What `parity MODEL --save-taps FILE` shows.
import type { SavedTaps } from "../../../parity/forward/save-taps.ts";
import type { ReportDocument } from "../../document.ts";
import { formatBytes, formatSeconds, plural } from "../../units.ts";

export function savedTapsDocument(saved: SavedTaps): ReportDocument {
  const { file, tokens, layers, backend, a, seconds, peakRamBytes } = saved;
  const checks = [
    {
      name: "the hidden states are those of another side",
      status: "not checked" as const,
      detail: `recorded, compared with nothing: parity OTHER --golden ${file} --by layers`,
    },
  ];
  return {
    title: "parity",
    data: { ...saved, checks },
    verdict: "pass",
    outcome: { word: "SAVED", isWarning: false },
    headline: `saved: logits of ${plural(tokens, "token")} and hidden states behind ${plural(layers, "layer")}, compared with nothing yet`,
    facts: [
      { label: "a", value: `${a.path} (${a.family}, ${a.layout}, ${a.format}, ${a.dtype})` },
      { label: "golden", value: file },
      { label: "backend", value: backend.adapter === null ? backend.name : `${backend.name}, ${backend.adapter}` },
      { label: "took", value: `${formatSeconds(seconds)}, ${formatBytes(peakRamBytes)} of memory` },
    ],
    checks,
    tables: [],
    notes: [],
  };
}

// The numbers of a parity run, as tables.
import { percent, scientific } from "../../../parity/checks/check.ts";
import type { NextTokens } from "../../../parity/next-tokens.ts";
import type { ParityReport } from "../../../parity/parity.ts";
import type { RoutingReport } from "../../../parity/routing.ts";
import type { Table } from "../../document.ts";
import { formatBytes, formatCount, formatSeconds } from "../../units.ts";
import { tokenName } from "./names.ts";

const beginning = (text: string): string => {
  const line = text.replaceAll(/\s+/g, " ").trim();
  return line.length <= 48 ? line : `${line.slice(0, 47)}…`;
};

export const tables = (report: ParityReport, texts: ReadonlyMap<number, string>): Table[] => [
  {
    title: "Parts",
    columns: [
      { name: "" },
      { name: "covers" },
      { name: "verdict" },
      { name: "mean KL (nats)", align: "right" },
      { name: "parts at" },
      { name: "backend" },
      { name: "took", align: "right" },
      { name: "memory", align: "right" },
    ],
    rows: (report.parts ?? []).map((part) => [
      `${part.part}`,
      part.covers,
      part.verdict,
      part.klMeanNats === null ? "no logits" : scientific(part.klMeanNats),
      part.firstDivergence ?? "nowhere",
      part.backend.adapter ?? part.backend.library ?? part.backend.name,
      formatSeconds(part.seconds),
      formatBytes(part.peakRamBytes),
    ]),
  },
  {
    title: "KL by position",
    columns: [
      { name: "positions" },
      { name: "mean (nats)", align: "right" },
      { name: "largest (nats)", align: "right" },
    ],
    rows: report.positions.bands.map(({ begin, end, klMeanNats, klMaxNats }) => [
      end - begin === 1 ? `${begin}` : `${begin} – ${end - 1}`,
      scientific(klMeanNats),
      scientific(klMaxNats),
    ]),
  },
  {
    title: "Inputs",
    columns: [
      { name: "" },
      { name: "tokens", align: "right" },
      { name: "mean KL (nats)", align: "right" },
      { name: "largest (nats)", align: "right" },
      { name: "top-1", align: "right" },
    ],
    rows: (report.inputs.prompts ?? []).map(({ source = "", tokens, klMeanNats, klMaxNats, top1 }, i) => [
      `${i + 1} ${beginning(source)}`,
      `${tokens}`,
      scientific(klMeanNats),
      scientific(klMaxNats),
      percent(top1),
    ]),
  },
  {
    title: `Likeliest next tokens${report.inputs.prompts ? ", behind the last input" : ""}`,
    columns: [{ name: "a" }, { name: "", align: "right" }, { name: "b" }, { name: "", align: "right" }],
    rows: nextTokenRows(report.nextTokens, texts),
  },
  {
    title: "Experts by layer",
    columns: [
      { name: "layer" },
      { name: "choices", align: "right" },
      { name: "differ", align: "right" },
      { name: "margin at most", align: "right" },
    ],
    rows: flippedRows(report.routing),
  },
  {
    title: "Known differences upstream",
    columns: [{ name: "code" }, { name: "mean KL (nats)", align: "right" }, { name: "source" }],
    rows: report.knownDifferences.map(({ code, klMeanNats, source }) => [code, scientific(klMeanNats), source]),
  },
];

/** Where tokens went to other experts: one row per layer, over all inputs. */
function flippedRows(routing: RoutingReport | null): string[][] {
  const layers = new Map<string, { choices: number; differ: number; margin: number }>();
  for (const { name, tokens, flipped, largestFlippedMargin } of routing?.layers ?? []) {
    const { choices, differ, margin } = layers.get(name) ?? { choices: 0, differ: 0, margin: 0 };
    layers.set(name, {
      choices: choices + tokens,
      differ: differ + (flipped ?? 0),
      margin: Math.max(margin, largestFlippedMargin ?? 0),
    });
  }
  const rows = [...layers].filter(([, { differ }]) => differ > 0);
  return rows.map(([name, { choices, differ, margin }]) => [
    name,
    formatCount(choices),
    formatCount(differ),
    scientific(margin),
  ]);
}

/** None where a side has no probabilities to show. */
function nextTokenRows({ a, b }: NextTokens, texts: ReadonlyMap<number, string>): string[][] {
  if ([...a, ...b].some(({ probability }) => !Number.isFinite(probability))) return [];
  const cells = ({ id, probability }: NextTokens["a"][number]) => [tokenName(id, texts), percent(probability)];
  return a.map((token, i) => [...cells(token), ...cells(b[i]!)]);
}

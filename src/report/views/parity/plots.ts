// Pictures of a parity run. One is there where its numbers are: no picture has a value that is none.
import { scientific } from "../../../parity/checks/check.ts";
import type { ParityReport } from "../../../parity/parity.ts";
import type { BarsPlot, LinesPlot, MarginPlot, Plot, ScatterPlot } from "../../plots/plot.ts";
import { formatCount, plural } from "../../units.ts";
import { marginText } from "./margin.ts";
import { tokenName } from "./names.ts";

export const plots = (report: ParityReport, texts: ReadonlyMap<number, string>): Plot[] =>
  [
    marginPlot(report),
    positionsPlot(report),
    tapsPlot(report),
    tokensPlot(report, texts),
    logitsPlot(report),
    routingPlot(report),
    knownPlot(report),
  ].filter((plot) => plot !== null);

const isNumber = (x: number): boolean => Number.isFinite(x);

function marginPlot(report: ParityReport): MarginPlot | null {
  const { metrics, thresholds, noiseFloor } = report;
  const title = marginText(report);
  const noise = noiseFloor?.klMeanNats ?? 0;
  if (title === null) return null;
  return {
    kind: "margin",
    title,
    about: `Mean KL ${scientific(metrics.klMeanNats)} against a limit of ${scientific(thresholds.klMeanNats)} nats a token, on a log axis.${noise > 0 ? ` Rounding alone makes ${scientific(noise)}.` : ""}`,
    unit: "mean KL (nats/token)",
    value: metrics.klMeanNats,
    limit: thresholds.klMeanNats,
    floor: noise > 0 ? noise : null,
  };
}

/** Fewer points tell nothing along an axis. */
const FEWEST = 2;

function positionsPlot({ positions, metrics, thresholds, noiseFloor, inputs }: ParityReport): LinesPlot | null {
  const { width, klMaxNats, klMedianNats } = positions.bins;
  const along = (values: readonly number[]) => values.flatMap((y, i) => (isNumber(y) ? [[i * width, y] as const] : []));
  const largest = along(klMaxNats);
  // Where all is 0, the margin says so.
  if (largest.length < FEWEST || !largest.some(([, y]) => y > 0)) return null;
  const isBinned = width > 1 || (inputs.prompts?.length ?? 1) > 1;
  const every = width > 1 ? `each ${width} positions` : "each position";
  const noise = noiseFloor?.klMaxNats ?? 0;
  const none = klMaxNats.length - largest.length;
  return {
    kind: "lines",
    title: "KL by position",
    about: [
      "How far apart the two sides' next-token distributions are, along the input.",
      "An error of the rotary embedding is zero at position 0 and shows from there on.",

      none > 0 ? `${formatCount(none)} have no KL: a logit there is no number.` : "",
    ]
      .filter((sentence) => sentence !== "")
      .join(" "),
    x: { label: "position" },
    y: { label: "KL (nats)", isLog: true },
    series: [
      { name: isBinned ? `largest of ${every}` : "KL", as: "dots", points: largest },
      ...(isBinned ? [{ name: "median", as: "dots" as const, points: along(klMedianNats) }] : []),
    ],
    levels: [
      { name: `limit of the mean ${scientific(thresholds.klMeanNats)}`, y: thresholds.klMeanNats },
      ...(metrics.klMeanNats > 0 && isNumber(metrics.klMeanNats)
        ? [{ name: `mean ${scientific(metrics.klMeanNats)}`, y: metrics.klMeanNats }]
        : []),
      ...(noise > 0 ? [{ name: `rounding alone, at most ${scientific(noise)}`, y: noise }] : []),
    ],
  };
}

function tapsPlot({ taps, tapLimit, firstDivergence }: ParityReport): LinesPlot | null {
  const along = (values: readonly (number | null)[]) =>
    values.flatMap((y, i) => (y !== null && isNumber(y) ? [[i, y] as const] : []));
  const error = along(taps.map(({ relativeRms }) => relativeRms));
  if (error.length < FEWEST || !error.some(([, y]) => y > 0)) return null;
  const added = taps.map(({ relativeRms }, i) => relativeRms - (taps[i - 1]?.relativeRms ?? 0));
  const undone = along(taps.map(({ withoutKnown }) => withoutKnown));
  const at = taps.findIndex(({ tap }) => tap === firstDivergence?.tap);
  return {
    kind: "lines",
    title: "Error by layer",
    about: [
      "The relative error of the hidden states behind each step.",
      "Where the line leaves the dashed level, a step does something else on one side;",
      "a dot is what that step added itself, the rest it inherited.",
      at >= 0 ? `The first such step is ${taps[at]!.tap}.` : "",
    ]
      .filter((sentence) => sentence !== "")
      .join(" "),
    x: { label: "", names: taps.map(({ tap }) => tap) },
    y: { label: "relative error", isLog: true },
    series: [
      { name: "error so far", as: "line", points: error },
      { name: "added by the step", as: "dots", points: along(added).filter(([, y]) => y > 0) },
      ...(undone.length > 0 ? [{ name: "so far, known differences undone", as: "line" as const, points: undone }] : []),
    ],
    levels: [{ name: "rounding explains as much", y: tapLimit }],
    ...(at < 0 ? {} : { marked: { x: at, name: taps[at]!.tap } }),
  };
}

/** Names of the sides by their part: measurements are of a candidate against a reference. */
const sidesOf = ({ reference, b }: ParityReport) => {
  const second = b.family === null ? "b (golden)" : "b";
  return reference === "a" ? { reference: "a", candidate: second } : { reference: second, candidate: "a" };
};

function tokensPlot(report: ParityReport, texts: ReadonlyMap<number, string>): BarsPlot | null {
  const { tokens, position, prompt, klNats } = report.positions.worst;
  if (
    tokens.length === 0 ||
    klNats <= 0 ||
    !tokens.every((each) => isNumber(each.reference) && isNumber(each.candidate))
  )
    return null;
  const sides = sidesOf(report);
  const [first, second] =
    report.reference === "a" ? (["reference", "candidate"] as const) : (["candidate", "reference"] as const);
  return {
    kind: "bars",
    title: `Likeliest tokens at the worst position, ${position}${prompt === undefined ? "" : ` of input ${prompt + 1}`}`,
    about: `What each side would say next where they differ most (KL ${scientific(klNats)} nats).`,
    x: { label: "probability", as: "share" },
    series: [sides[first], sides[second]],
    groups: tokens.map((token) => ({ name: tokenName(token.id, texts), values: [token[first], token[second]] })),
  };
}

function logitsPlot(report: ParityReport): ScatterPlot | null {
  const { spread, likeliest } = report.logits;
  const pairs = ({ reference, candidate }: typeof spread) =>
    reference.flatMap((x, i) => (isNumber(x) && isNumber(candidate[i]!) ? [[x, candidate[i]!] as const] : []));
  const series = [
    { name: `${formatCount(spread.reference.length)} logits from all over`, pairs: pairs(spread) },
    { name: "of the likeliest tokens", pairs: pairs(likeliest) },
  ];
  if (pairs(spread).length < FEWEST) return null;
  const sides = sidesOf(report);
  return {
    kind: "scatter",
    title: "Logits against each other",
    about: "A sample of logits on both sides. Equal ones are on the dashed diagonal.",
    x: { label: `logit of ${sides.reference}, the reference` },
    y: { label: `logit of ${sides.candidate}` },
    series,
  };
}

/** More layers than this are dots along an axis instead of bars below each other. */
const MOST_BARS = 24;

function routingPlot({ routing }: ParityReport): BarsPlot | LinesPlot | null {
  if (routing === null || routing.flipped === null || routing.mode === "pinned") return null;
  const layers = new Map<string, { choices: number; differ: number }>();
  for (const { name, tokens, flipped } of routing.layers) {
    const { choices, differ } = layers.get(name) ?? { choices: 0, differ: 0 };
    layers.set(name, { choices: choices + tokens, differ: differ + (flipped ?? 0) });
  }
  if ([...layers.values()].every(({ differ }) => differ === 0)) return null;
  const margin = routing.largestFlippedMargin ?? 0;
  const shares = [...layers].map(([name, { choices, differ }]) => ({ name, share: differ / choices }));
  const words = {
    title: "Tokens that went to other experts, by layer",
    about: `${formatCount(routing.flipped)} of ${plural(routing.choices, "choice")} differ, made by a margin of at most ${scientific(margin)}: rounding flips near ties only, the closest choice here was made by ${scientific(routing.smallestMargin)}.`,
  };
  if (shares.length > MOST_BARS) {
    return {
      ...words,
      kind: "lines",
      x: { label: "", names: shares.map(({ name }) => name) },
      y: { label: "share of tokens, 0 to 1", isLog: false },
      series: [{ name: "differ", as: "dots", points: shares.map(({ share }, i) => [i, share] as const) }],
      levels: [],
    };
  }
  return {
    ...words,
    kind: "bars",
    x: { label: "share of tokens", as: "share" },
    series: ["differ"],
    groups: shares.map(({ name, share }) => ({ name, values: [share] })),
  };
}

function knownPlot({ knownDifferences, metrics, klMeanNatsWithoutKnown: rest }: ParityReport): BarsPlot | null {
  if (knownDifferences.length < FEWEST || rest === null || ![metrics.klMeanNats, rest].every(isNumber)) return null;
  return {
    kind: "bars",
    title: "What each known difference makes of the mean KL",
    about: "What undoing it takes off, one after the other, and what is left.",
    x: { label: "nats/token", as: "number", isLog: true },
    series: ["mean KL"],
    groups: [
      ...knownDifferences.map(({ code, klMeanNats }) => ({ name: code, values: [Math.max(0, klMeanNats)] })),
      { name: "all else", values: [Math.max(0, rest)] },
    ],
  };
}

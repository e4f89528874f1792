// What `parity` shows of its report.

import { CAPABILITIES } from "../../../numerics/capabilities.ts";
import { percent, scientific } from "../../parity/checks/check.ts";
import type { SideConfig } from "../../parity/configs.ts";
import type { NoiseFloor } from "../../parity/noise.ts";
import type { ParityReport } from "../../parity/parity.ts";
import type { RoutingReport } from "../../parity/routing.ts";
import type { Fact, ReportDocument } from "../document.ts";
import { formatBytes, formatCount, formatSeconds, plural } from "../units.ts";
import { diagnoses, divergenceText } from "./parity/diagnoses.ts";
import { headline } from "./parity/headline.ts";
import { marginText } from "./parity/margin.ts";
import { someOf } from "./parity/names.ts";
import { plots } from "./parity/plots.ts";
import { tables } from "./parity/tables.ts";

/** @param texts of the tokens that the report names, by id */
export function parityDocument(report: ParityReport, texts: ReadonlyMap<number, string> = new Map()): ReportDocument {
  return {
    title: "parity",
    data: report,
    verdict: report.verdict,
    headline: headline(report),
    diagnoses: diagnoses(report),
    plots: plots(report, texts),
    facts: facts(report),
    checks: report.checks,
    tables: tables(report, texts),
    notes: notes(report),
  };
}

/** Why it is computed there, where `auto` chose. */
export const backendNotes = ({ name, fallbackFrom, fallbackReason, choice }: ParityReport["backend"]): string[] => [
  ...(fallbackFrom ? [`fell back from ${fallbackFrom}: ${fallbackReason}`] : []),
  ...(choice ? [`${name} was taken: ${choice}`] : []),
];

const spellingNotes = ({ a, b }: ParityReport): string[] => [
  ...(a.spelling ?? []).map((note) => `a: ${note}`),
  ...(b.spelling ?? []).map((note) => `b: ${note}`),
];

function notes(report: ParityReport): string[] {
  const { backend, inputs, verdict } = report;
  return [
    ...spellingNotes(report),
    ...backendNotes(backend),
    ...versionNotes(report.upstream),
    ...(inputs.note ? [inputs.note] : []),
    ...(inputs.prompts ?? []).flatMap(({ note }, i) => (note ? [`input ${i + 1}: ${note}`] : [])),
    ...(verdict === "pass" ? passNotes(report) : []),
  ];
}

/** What a failed run has among its diagnoses, and what only a run that passed has. */
const passNotes = ({ firstDivergence, beyondRounding, causes }: ParityReport): string[] => [
  ...(firstDivergence ? [divergenceText(firstDivergence)] : []),
  ...(beyondRounding ? [beyondText(beyondRounding)] : []),
  ...causes.map(({ code, explanation, evidence, fix }) => `${code}: ${explanation} (${evidence}); ${fix}`),
];

/** Choices are those of each token at each mixture; a margin is the last chosen score less the best of those left out. */
function routingText(report: RoutingReport): string {
  const { mode, choices, flipped, largestFlippedMargin, smallestMargin, layers } = report;
  const mixtures = plural(new Set(layers.map(({ name }) => name)).size, "layer");
  const all = `${plural(choices, "choice")} of experts (each token at ${mixtures})`;
  const closest = `the closest made by a margin of ${scientific(smallestMargin)}`;
  if (mode === "pinned" && flipped !== null) return `pinned, b takes those of a: ${all}, ${closest}`;
  if (flipped === null) return `${all}, ${closest}`;
  return largestFlippedMargin === null
    ? `0 of ${all} differ; ${closest}`
    : `${formatCount(flipped)} of ${all} differ, made by a margin of at most ${scientific(largestFlippedMargin)}`;
}

const noiseText = ({ klMeanNats, klMaxNats, side, tokens }: NoiseFloor): string =>
  `mean KL ${scientific(klMeanNats)}, largest ${scientific(klMaxNats)} of rounding alone (${side} summed in two orders, ${plural(tokens, "token")})`;

/** Where versions of upstream disagree, what the chosen one does. */
const versionNotes = ({ versions, changes }: ParityReport["upstream"]): string[] =>
  changes.map(({ project, does, otherwise }) => {
    const { version } = versions.find((each) => each.project === project)!;
    return `${project} ${version} ${does}; other versions of it: ${otherwise} (--upstream ${project}=VERSION)`;
  });

const versionsText = (versions: ParityReport["upstream"]["versions"]): string =>
  versions.map(({ project, version, given }) => `${project} ${version}${given ? " (given)" : ""}`).join(", ");

function facts(report: ParityReport): Fact[] {
  const { a, b, backend, inputs, metrics, memory, reference, positions, routing, noiseFloor } = report;
  const side = ({ path, family, layout, format, dtype, encoding }: ParityReport["a"]) => {
    const kind = family === null ? "recorded logits" : `${family}, ${layout}, ${format}`;
    return `${path} (${kind}, ${encoding === null ? dtype : `${encoding} decoded to ${dtype}`})`;
  };
  const { worst } = positions;
  const margin = marginText(report);
  return [
    { label: "a", value: side(a) },
    { label: "b", value: side(b) },
    ...configFacts(report),
    { label: "reference", value: reference },
    {
      label: "input",
      value: `${inputs.prompts ? `${inputs.prompts.length} × ` : ""}${inputs.kind}${inputs.seed === undefined ? "" : ` (seed ${inputs.seed})`}, ${plural(inputs.tokens, "token")}${inputs.images ? `, ${plural(inputs.images, "image")}` : ""}`,
    },
    { label: "computed as", value: versionsText(report.upstream.versions) },
    {
      label: "backend",
      value:
        backend.adapter === null
          ? `${backend.name} (${CAPABILITIES[backend.name].valueBytes === 8 ? "f64" : "f32"}${backend.library ? `, matrix products by ${backend.library}` : ""})`
          : `${backend.name}, ${backend.adapter}`,
    },
    {
      label: "KL (nats/token)",
      value: `mean ${scientific(metrics.klMeanNats)}, 95 % ${scientific(metrics.klP95Nats)}, 99 % ${scientific(metrics.klP99Nats)}, largest ${scientific(metrics.klMaxNats)} at position ${worst.position}${worst.prompt === undefined ? "" : ` of input ${worst.prompt + 1}`}`,
    },
    { label: "limits", value: limitsText(report.thresholds) },
    ...(margin === null ? [] : [{ label: "margin", value: margin }]),
    {
      label: "agreement",
      value: `top-1 ${percent(metrics.top1)}, top-5 ${percent(metrics.top5)}${metrics.ties > 0 ? `, ${plural(metrics.ties, "tie")} let pass` : ""}`,
    },
    {
      label: "logits",
      value: `largest difference ${scientific(metrics.maxAbsDiff)}, smallest cosine ${metrics.cosineMin.toFixed(9)}`,
    },
    ...(noiseFloor === null ? [] : [{ label: "noise floor", value: noiseText(noiseFloor) }]),
    ...(routing === null ? [] : [{ label: "routing", value: routingText(routing) }]),
    {
      label: "took",
      value: `${formatSeconds(report.seconds)}, ${formatBytes(report.peakRamBytes)} of memory (${formatBytes(memory.backendPeakBytes)} on the backend)`,
    },
  ];
}

const limitsText = ({ klMeanNats, top1, origin }: ParityReport["thresholds"]): string =>
  `mean KL ${scientific(klMeanNats)} nats/token${top1 === null ? "" : `, top-1 agreement ${percent(top1)}`} (${origin})`;

const ORIGIN = { own: "its own", given: "given where a side has none", "given for it": "given for it" } as const;

const configFacts = ({ configs }: ParityReport): Fact[] =>
  (["a", "b"] as const).flatMap((side) => {
    const config = configs[side];
    return config === null ? [] : [{ label: `config of ${side}`, value: configText(config) }];
  });

const configText = ({ path, sha256, origin }: SideConfig): string => `${path} (${ORIGIN[origin]}, sha256 ${sha256})`;

const beyondText = ({ klMeanNats, tap, added, tensors }: NonNullable<ParityReport["beyondRounding"]>): string => {
  const differ = tensors.length > 0 ? `, where ${someOf(tensors)} differ in bits` : "";
  return `below the limit, and yet more than rounding: mean KL ${scientific(klMeanNats)} nats/token; most is added at ${tap} (relative error ${scientific(added)})${differ}`;
};

// What `parity` shows of its report.

import { CAPABILITIES } from "../../../numerics/capabilities.ts";
import { percent, scientific } from "../../parity/checks/check.ts";
import type { SideConfig } from "../../parity/configs.ts";
import type { NextTokens } from "../../parity/next-tokens.ts";
import type { NoiseFloor } from "../../parity/noise.ts";
import type { ParityReport } from "../../parity/parity.ts";
import type { RoutingReport } from "../../parity/routing.ts";
import type { Fact, ReportDocument, Table } from "../document.ts";
import { formatBytes, formatCount, formatSeconds, plural } from "../units.ts";
import { headline } from "./parity-headline.ts";

const tokenName = (id: number, texts: ReadonlyMap<number, string>): string =>
  texts.has(id) ? `${JSON.stringify(texts.get(id))} (${id})` : String(id);

const SHOWN = 4;

/** The first of a list that may have hundreds: --json has them all. */
const someOf = (names: readonly string[]): string =>
  names.length <= SHOWN + 1
    ? names.join(", ")
    : `${names.slice(0, SHOWN).join(", ")} and ${names.length - SHOWN} more tensors`;

const beginning = (text: string): string => {
  const line = text.replaceAll(/\s+/g, " ").trim();
  return line.length <= 48 ? line : `${line.slice(0, 47)}…`;
};

/** @param texts of the tokens that the report names, by id */
export function parityDocument(report: ParityReport, texts: ReadonlyMap<number, string> = new Map()): ReportDocument {
  return {
    title: "parity",
    data: report,
    verdict: report.verdict,
    headline: headline(report),
    facts: facts(report),
    checks: report.checks,
    tables: tables(report, texts),
    notes: notes(report),
  };
}

const tables = (report: ParityReport, texts: ReadonlyMap<number, string>): Table[] => [
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
  const { backend, inputs, firstDivergence, beyondRounding, causes, nextSteps } = report;
  return [
    ...spellingNotes(report),
    ...backendNotes(backend),
    ...versionNotes(report.upstream),
    ...(inputs.note ? [inputs.note] : []),
    ...(inputs.prompts ?? []).flatMap(({ note }, i) => (note ? [`input ${i + 1}: ${note}`] : [])),
    ...(firstDivergence
      ? [
          `first difference at ${firstDivergence.tap}: relative error ${scientific(firstDivergence.added)} added, ${scientific(firstDivergence.inherited)} inherited; that step read ${someOf(firstDivergence.tensors)}`,
        ]
      : []),
    ...(beyondRounding ? [beyondText(beyondRounding)] : []),
    ...causes.map(({ code, explanation, evidence, fix }) => `${code}: ${explanation} (${evidence}); ${fix}`),
    ...nextSteps.map((step) => `next: ${step}`),
  ];
}

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

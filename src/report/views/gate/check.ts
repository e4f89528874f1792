// What `check` shows of its page. A gate shows the same of each of its checkpoints, as a section.
import { limitOfRounding } from "../../../gate/forward/limits.ts";
import type { CheckedSide, CheckReport } from "../../../gate/report.ts";
import type { Fact, ReportDocument, Section, Table } from "../../document.ts";
import { formatBytes, formatSeconds, plural } from "../../units.ts";
import { differenceTable } from "../differences.ts";
import { parityDocument } from "../parity.ts";

/** @param texts of the tokens that the report names, by id */
export function checkDocument(report: CheckReport, texts?: ReadonlyMap<number, string>): ReportDocument {
  return { ...findings(report, texts), title: "check", data: report };
}

/** One of several pages: its title names the checkpoint. */
export function checkSection(report: CheckReport, title: string, texts?: ReadonlyMap<number, string>): Section {
  const kl = runOf(report)?.metrics.klMeanNats;
  const { failed, unchecked, held } = countsOf(report);
  return {
    ...findings(report, texts),
    title,
    seconds: report.seconds,
    figures: [
      { label: "held", value: `${held}` },
      { label: "failed", value: `${failed}` },
      { label: "not checked", value: `${unchecked}` },
      { label: "mean KL", value: kl === undefined ? "–" : kl.toExponential(2) },
    ],
  };
}

/** The run that the verdict is about. */
const runOf = ({ parity, pinned, goldens }: CheckReport) => pinned ?? parity ?? goldens[0] ?? null;

function findings(report: CheckReport, texts?: ReadonlyMap<number, string>): Section {
  const run = runOf(report);
  const ran = run === null ? null : parityDocument(run, texts);
  return {
    title: "check",
    verdict: report.verdict,
    headline: headline(report, ran?.headline),
    ...(ran?.diagnoses ? { diagnoses: ran.diagnoses } : {}),
    ...(ran?.plots ? { plots: ran.plots } : {}),
    facts: facts(report, ran?.facts ?? []),
    checks: report.checks,
    tables: [...differences(report), ...(ran?.tables ?? [])],
    notes: [...new Set([...report.notes, ...(ran?.notes ?? [])])],
  };
}

function countsOf({ checks }: CheckReport) {
  const count = (status: string) => checks.filter((check) => check.status === status).length;
  return { held: count("passed"), failed: count("failed"), unchecked: count("not checked") };
}

/** @param ofRun what the forward passes showed */
function headline(report: CheckReport, ofRun: string | undefined): string {
  const { held, failed, unchecked } = countsOf(report);
  const beside = unchecked === 0 ? "" : `, ${unchecked} could not be made`;
  const took = formatSeconds(report.seconds);
  if (report.verdict === "pass")
    return `${ofRun === undefined ? "" : `${ofRun}; `}${plural(held, "check")} held${beside} (${took})`;
  const [first] = report.checks.filter(({ status }) => status === "failed");
  const cause = runOf(report)?.cause;
  const why = cause ? `${cause.code}: ${cause.explanation}` : `${first?.name}: ${first?.detail ?? ""}`;
  return `${failed} of ${plural(held + failed, "check")} failed${beside}: ${why}`;
}

/** Of parity what is not said already. */
function facts(report: CheckReport, ofRun: readonly Fact[]): Fact[] {
  const { a, b, profile, blocks, seconds, peakRamBytes } = report;
  const own = new Set(["a", "b", "took"]);
  return [
    { label: "a", value: sideText(a) },
    ...(b === null ? [] : [{ label: "b", value: sideText(b) }]),
    ...(profile === null
      ? []
      : [{ label: "profile", value: `${profile.name} (${profile.origin}: ${profile.because})` }]),
    ...(report.seal === null ? [] : [{ label: `root of ${report.seal.side}`, value: report.seal.root }]),
    ...ofRun.filter(({ label }) => !own.has(label)),
    ...limits(report),
    ...accepted(report),
    {
      label: "took",
      value: `${formatSeconds(seconds)} (${blocks.map((block) => `${block.name} ${formatSeconds(block.seconds)}`).join(", ")}), ${formatBytes(peakRamBytes)} of memory`,
    },
  ];
}

function sideText({ path, read }: CheckedSide): string {
  if (read === null) return `${path} (cannot be read)`;
  const { family, layout, format, tensors, bytes } = read;
  return `${path} (${family}, ${layout}, ${format}, ${plural(tensors, "tensor")}, ${formatBytes(bytes)})`;
}

/** Beside the numbers that are held against them. */
function limits(report: CheckReport): Fact[] {
  const run = runOf(report);
  if (run === null) return [];
  const { klMeanNats, top1, origin } = run.thresholds;
  const rounding = limitOfRounding(run);
  return [
    { label: "limit of the mean KL", value: `${klMeanNats.toExponential(2)} nats/token (${origin})` },
    ...(top1 === null ? [] : [{ label: "limit of top-1", value: `${top1} (${origin})` }]),
    ...(rounding === null || origin === "given" ? [] : [{ label: "limit of rounding", value: rounding.words }]),
  ];
}

const accepted = ({ accepted: { known = [], weights = [], config = [] } }: CheckReport): Fact[] =>
  [
    ...known.map(({ code, maxKl, reason }) => [`${code}${maxKl === undefined ? "" : ` up to ${maxKl}`}`, reason]),
    ...weights.map(({ tensors, reason }) => [tensors, reason]),
    ...config.map(({ field, reason }) => [field, reason]),
  ].map(([what, reason]) => ({ label: "accepted", value: `${what}${reason ? `: ${reason}` : ""}` }));

/** Of the comparison, and of each side. */
const differences = ({ diff, validations, roundtrips }: CheckReport): Table[] => {
  const all = [
    ...(diff?.differences ?? []),
    ...Object.values(validations).flatMap((each) => each.differences),
    ...Object.values(roundtrips).flatMap((each) => each.differences),
  ];
  return all.length === 0 ? [] : [differenceTable(all)];
};

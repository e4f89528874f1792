// Both sides run forward, or one against recorded logits: what parity found, and what the profile asks of it.
import type { Check } from "../../base/check.ts";
import type { SharedBackend } from "../../parity/backend.ts";
import { type ParityOptions, type ParityReport, runParity } from "../../parity/parity.ts";
import { count, failed, notChecked, passed } from "../block.ts";
import { largestTie, limitOfRounding, nats } from "./limits.ts";

/** What parity is asked with, whatever the sides. */
export interface LogitOptions
  extends Pick<
    ParityOptions,
    | "input"
    | "backend"
    | "maxKlNats"
    | "minTop1"
    | "acceptKnown"
    | "upstream"
    | "routing"
    | "maxRamBytes"
    | "saveLogits"
    | "signal"
    | "onProgress"
    | "onBackend"
  > {
  readonly shared: SharedBackend;
}

export interface Logits {
  readonly report: ParityReport;
  /** The same with the experts of the second side pinned to the first one's, where free choices differ by ties alone. */
  readonly pinned: ParityReport | null;
}

/** Whether nothing but rounding can have made the sides choose other experts. */
type IsTheSame = (report: ParityReport) => boolean;

/**
 * The run as it was asked for. Where tokens went to other experts by margins that rounding explains, logits say nothing: then
 * a second run gives both sides the same experts.
 */
export async function runLogits(options: ParityOptions, isTheSame: IsTheSame): Promise<Logits> {
  const report = await runParity(options);
  const isFree = (options.routing ?? "free") === "free";
  if (!isFree || report.verdict === "pass" || !isTies(report) || !isTheSame(report)) return { report, pinned: null };
  return { report, pinned: await runParity({ ...options, saveLogits: undefined, routing: "pinned" }) };
}

function isTies(report: ParityReport): boolean {
  const { routing } = report;
  const tie = largestTie(report);
  return tie !== null && (routing?.flipped ?? 0) > 0 && (routing?.largestFlippedMargin ?? 0) <= tie;
}

/** Of parity, the checks of configs aside, which are another block's; then what the profile adds. */
export function logitChecks({ report, pinned }: Logits, configName: string): Check[] {
  const judged = pinned ?? report;
  const isConfig = ({ name }: Check) => name === configName;
  const own = withCause(judged.checks.filter((check) => !isConfig(check)).map(plain), judged);
  return [...own, ...roundingCheck(judged), ...routingCheck(report, pinned), ...causeCheck(judged, own)];
}

const plain = ({ name, status, detail }: Check): Check => ({
  name,
  status,
  ...(detail === undefined ? {} : { detail }),
});

/** The first failure says what the others come from. */
function withCause(checks: readonly Check[], { cause }: ParityReport): Check[] {
  const first = checks.findIndex(({ status }) => status === "failed");
  if (cause === null || first < 0) return [...checks];
  const { name, status, detail } = checks[first]!;
  return checks.with(first, {
    name,
    status,
    detail: `${detail ?? ""}; ${cause.code}: ${cause.explanation}; ${cause.fix}`,
  });
}

/** Where the run itself was held to given limits, these stand alone. */
function roundingCheck(report: ParityReport): Check[] {
  if (report.thresholds.origin === "given") return [];
  const name = "logits differ by no more than rounding, known differences aside";
  const limit = limitOfRounding(report);
  if (limit === null) return [notChecked(name, "no floor could be measured: logits are not finite")];
  const { klMeanNats, limitNats, words } = limit;
  const detail = `mean KL ${nats(klMeanNats)}, ${words}`;
  return [klMeanNats <= limitNats ? passed(name, detail) : failed(name, detail)];
}

function routingCheck(report: ParityReport, pinned: ParityReport | null): Check[] {
  const { routing } = report;
  if (routing === null || routing.flipped === null) return [];
  const name = "tokens go to the same experts";
  const choices = count(routing.choices, "choice");
  if (routing.mode === "pinned") return [notChecked(name, "asked to be pinned: the second side takes the first one's")];
  if (routing.flipped === 0)
    return [passed(name, `${choices}, the closest by a margin of ${nats(routing.smallestMargin)}`)];
  const tie = largestTie(report);
  const margin = routing.largestFlippedMargin ?? 0;
  const words = `${routing.flipped.toLocaleString("en-US")} of ${choices} differ, by margins of at most ${nats(margin)}`;
  if (tie !== null && margin <= tie) {
    const ties = `${words}: ties, which rounding of up to ${nats(tie)} turns round`;
    return [passed(name, pinned === null ? ties : `${ties}; logits above are of a second run with the same experts`)];
  }
  if (report.knownDifferences.length > 0) {
    const codes = report.knownDifferences.map(({ code }) => code).join(", ");
    return [notChecked(name, `${words}, with the known differences in place (${codes})`)];
  }
  return [failed(name, `${words}, more than rounding explains (${tie === null ? "no floor" : nats(tie)})`)];
}

/** A verdict that no check of its own explains must not get lost. */
function causeCheck({ verdict, findings }: ParityReport, checks: readonly Check[]): Check[] {
  if (verdict === "pass" || checks.some(({ status }) => status === "failed")) return [];
  const others = findings.filter(({ code }) => code !== "CONFIG");
  return others.length === 0 ? [] : [failed("the sides agree", others.map(({ message }) => message).join("; "))];
}

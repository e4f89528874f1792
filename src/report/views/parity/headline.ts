// The one sentence of a parity run. It claims no more than the checks below it: what was not checked is part of it.
import { scientific } from "../../../parity/checks/check.ts";
import type { ParityReport } from "../../../parity/parity.ts";
import { castWords } from "../../../views/rounding.ts";
import { plural } from "../../units.ts";

export function headline(report: ParityReport): string {
  const { verdict, metrics, thresholds, klMeanNatsWithoutKnown: without } = report;
  const over = `nats/token over ${plural(metrics.tokens, "token")}`;
  const kl = `mean KL ${scientific(metrics.klMeanNats)} ${over}`;
  if (verdict === "fail") return failed(report, kl);
  const held =
    isAccepted(report) && without !== null
      ? `mean KL ${scientific(without)} ${over} without them (${scientific(metrics.klMeanNats)} with them)`
      : kl;
  return `${passed(report)}: ${held}, limit ${scientific(thresholds.klMeanNats)}`;
}

const codesOf = ({ knownDifferences }: ParityReport): string => knownDifferences.map(({ code }) => code).join(", ");

/** Whether it passes only because known differences are accepted: no other pass names a cause. */
const isAccepted = ({ verdict, cause }: ParityReport): boolean => verdict === "pass" && cause !== null;

function passed(report: ParityReport): string {
  const { b, checks, weights, cast } = report;
  const known = isAccepted(report) ? ` but for known upstream differences (${codesOf(report)})` : "";
  const but = `${cast?.asked ? ` after the cast ${castWords(cast.types)}` : ""}${known}`;
  const caveats = checks.flatMap(({ caveat }) => caveat ?? []);
  const beside = caveats.length === 0 ? "" : `, ${caveats.join("; ")}`;
  if (b.family === null) return `the golden's logits${but}${beside}`;
  if (caveats.length === 0) return `the same model${but}`;
  const [config, ...others] = caveats;
  const isConfigAlone =
    others.length === 0 && checks.some(({ name, caveat }) => caveat === config && /config/.test(name));
  const isEqual = weights !== null && weights.equal === weights.tensors;
  if (isConfigAlone && but === "") return `the same ${isEqual ? "weights" : "model"} ${config}`;
  if (isConfigAlone) return `the same model${but}, ${config}`;
  return `the same on this input${but}${beside}`;
}

function failed(report: ParityReport, kl: string): string {
  const { verdictWithoutKnown, findings, checks } = report;
  const message = findings[0]?.message ?? kl;
  if (findings.every(({ code }) => code === "WEIGHTS_NOT_RUN")) {
    const beside = checks.flatMap(({ caveat, status }) => (caveat && status !== "failed" ? [caveat] : []));
    return `NOT shown to be the same model: ${[message, ...beside].join("; ")} (${kl})`;
  }
  if (verdictWithoutKnown === "fail") return `NOT the same model: ${message}`;
  return `NOT the same model: ${message}, by known upstream differences alone (${codesOf(report)}); ${wayOut(report)}`;
}

/** One option, where it lets all pass; else what each calls for. */
function wayOut({ knownDifferences }: ParityReport): string {
  const refused = knownDifferences.filter(({ accepted }) => !accepted);
  const bare = refused.every(({ reason }) => reason?.startsWith("--accept-known lets"));
  return bare ? "--accept-known lets them pass" : refused.map(({ reason }) => reason).join("; ");
}

// Whether the logits agree.
import { byFindings, count, type Examine, percent, scientific } from "./check.ts";

/** With accepted differences undone where they are: what is held against the limit is what is said to be. */
export const meanKl: Examine = ({ evidence: { metrics, thresholds }, findings, isAccepted, known }) => {
  // Not part of the name: a CI tells a test by it, whatever the limit.
  const limit = `limit ${scientific(thresholds.klMeanNats)} nats/token (${thresholds.origin})`;
  const status = findings.some(({ code }) => code === "KL") ? "failed" : "passed";
  if (!isAccepted || known === null)
    return [{ name: "mean KL within its limit", status, detail: `${scientific(metrics.klMeanNats)}, ${limit}` }];
  const { klMeanNats } = known.without.metrics;
  const detail = `${scientific(klMeanNats)}, and ${scientific(metrics.klMeanNats)} with them, ${limit}`;
  return [{ name: "mean KL without accepted known differences within its limit", status, detail }];
};

export const known: Examine = ({ known, remaining }) =>
  known === null
    ? []
    : [
        {
          name: "the same with known upstream differences undone",
          status: remaining.length === 0 ? "passed" : "failed",
          detail: `mean KL ${scientific(known.without.metrics.klMeanNats)}`,
        },
      ];

export const top1: Examine = ({ evidence: { metrics, thresholds }, findings }) =>
  thresholds.top1 === null
    ? []
    : [
        byFindings(findings, "TOP1", {
          name: "top-1 agreement within its limit",
          held: `${percent(metrics.top1)}, at least ${percent(thresholds.top1)} (${thresholds.origin})`,
        }),
      ];

export const finite: Examine = ({ evidence: { metrics }, findings }) => [
  byFindings(findings, "NON_FINITE", {
    name: "every logit is finite",
    held: `at ${count(metrics.tokens, "position")}`,
  }),
];

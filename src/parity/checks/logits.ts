// Whether the logits agree.
import { byFindings, count, type Examine, percent, scientific } from "./check.ts";

export const meanKl: Examine = ({ evidence: { metrics, thresholds }, findings, isAccepted }) => [
  {
    name: `mean KL at most ${scientific(thresholds.klMeanNats)} nats/token (${thresholds.origin} limit)`,
    status: findings.some(({ code }) => code === "KL") ? "failed" : "passed",
    detail: `${scientific(metrics.klMeanNats)}${isAccepted ? ", known upstream differences accepted" : ""}`,
  },
];

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
          name: `top-1 agreement at least ${percent(thresholds.top1)}`,
          held: percent(metrics.top1),
        }),
      ];

export const finite: Examine = ({ evidence: { metrics }, findings }) => [
  byFindings(findings, "NON_FINITE", {
    name: "every logit is finite",
    held: `at ${count(metrics.tokens, "position")}`,
  }),
];

// Whether both sides' configs give the same mathematics.
import type { SideConfig, SideConfigs } from "../configs.ts";
import { byFindings, type Examine, some } from "./check.ts";

const NAME = "the configs give the same mathematics";

export const configs: Examine = ({ evidence: { golden, coverage }, findings }) => {
  if (golden) return [];
  const failed = findings.some(({ code }) => code === "CONFIG");
  const untold = failed ? null : whyNotTold(coverage.configs);
  if (untold === null)
    return [byFindings(findings, "CONFIG", { name: NAME, held: `each side's own${unread(coverage.configs)}` })];
  return [{ name: NAME, status: "not checked", detail: untold, caveat: "under the config given" }];
};

/** What was not compared, as no graph computes with it. */
function unread({ unread: fields = [] }: SideConfigs): string {
  return fields.length === 0 ? "" : `; they differ in what no graph reads: ${some(fields)}`;
}

/** Where one file stands for both sides, its fields are compared with themselves. */
function whyNotTold({ a, b }: SideConfigs): string | null {
  if (a === null || b === null) return null;
  const lacking = [
    ...(a.origin === "given" ? [["a", a] as const] : []),
    ...(b.origin === "given" ? [["b", b] as const] : []),
  ];
  const [first, second] = lacking;
  const isOne = a.sha256 === b.sha256;
  if (second) return `neither side has a config of its own, ${used(a)}`;
  if (first) {
    const [side, config] = first;
    return `${side} has no config of its own, ${isOne ? used(config) : `${config.path} was given for it, and gives what the other side's own does: ${GOLDEN}`}`;
  }
  const isGiven = a.origin !== "own" || b.origin !== "own";
  return isGiven && isOne ? `the config given is the other side's, ${used(a)}` : null;
}

const GOLDEN = "--golden would tell whether its fields are right";

const used = ({ path }: SideConfig): string => `${path} was used for both: ${GOLDEN}`;

// What the weights are whatever their layout: the root that a seal has, and whether it is that of a seal at hand.
import type { Check } from "../base/check.ts";
import { type Match, match } from "../verify/identity/match.ts";
import { seal } from "../verify/identity/seal.ts";
import { readSeal } from "../verify/identity/seal-file.ts";
import { attempt, failed, notChecked, passed } from "./block.ts";
import type { SealOfSide } from "./report.ts";
import type { SideName } from "./sides.ts";
import { stepsOf, type Work } from "./work.ts";

interface Found {
  readonly checks: readonly Check[];
  readonly seal: SealOfSide | null;
  readonly match: Match | null;
}

/** Of the target, or of the only side. Throws InputError for a seal that cannot be read. */
export async function sealChecks({ sides, options }: Work): Promise<Found> {
  const sealed = options.seal === undefined ? null : readSeal(options.seal);
  const last = sides.at(-1);
  if (last === undefined) return { checks: [], seal: null, match: null };
  const side: SideName = sides.length > 1 ? "b" : "a";
  const how = { ...last.options, ...stepsOf(options) };
  if (sealed === null) {
    const name = `the weights of ${side} have a seal`;
    const { made, failure } = await attempt(name, () => seal(last.checkpoint, how));
    if (failure !== null) return { checks: [failure], seal: null, match: null };
    const { root } = made.seal;
    return { checks: [passed(name, `root ${root}`)], seal: { side, root }, match: null };
  }
  const { made, failure } = await attempt(`${side} is the model of the seal`, () =>
    match(last.checkpoint, sealed, how),
  );
  if (failure !== null) return { checks: [failure], seal: null, match: null };
  const checks = made.checks.map(({ name, status, detail = "" }) => {
    const words = `${options.seal}: ${name}`;
    if (status === "passed") return passed(words, detail);
    return status === "failed" ? failed(words, detail) : notChecked(words, detail);
  });
  return { checks, seal: { side, root: made.root }, match: made };
}

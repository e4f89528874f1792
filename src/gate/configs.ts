// Whether both sides' configs give the same mathematics.
import type { Check } from "../base/check.ts";
import type { ConfigDifference } from "../family/config-differences.ts";
import type { ParityReport } from "../parity/parity.ts";
import type { Diff } from "../verify/diff.ts";
import { failed, notChecked, passed, some } from "./block.ts";
import { type Accepted, acceptedWords, configReason, withoutAccepted } from "./waivers.ts";

/** As parity calls it. */
export const CONFIG_NAME = "the configs give the same mathematics";

interface Seen {
  readonly parity: ParityReport | null;
  readonly diff: Diff | null;
}

/** By parity, which knows what has no effect, where it ran; else by the comparison of tensors. */
export function configChecks({ parity, diff }: Seen, accepted: Accepted): Check[] {
  const own = parity?.checks.find(({ name }) => name === CONFIG_NAME);
  if (parity !== null && own !== undefined) {
    if (own.status !== "failed") return [plain(own)];
    return [ofDifferences(parity.configDifferences, accepted)];
  }
  if (diff === null) return [notChecked(CONFIG_NAME, "the sides could not be compared")];
  if (diff.configDifferences === null) return [notChecked(CONFIG_NAME, diff.configsNotCompared ?? "not compared")];
  return [ofDifferences(diff.configDifferences, accepted)];
}

const plain = ({ name, status, detail = "" }: Check): Check => ({ name, status, detail });

function ofDifferences(differences: readonly ConfigDifference[], { config }: Accepted): Check {
  const reasonOf = configReason(config);
  const { left, accepted } = withoutAccepted(differences, ({ field }) => reasonOf(field));
  if (left.length > 0) return failed(CONFIG_NAME, some(left.map(wordsOf), 6));
  return accepted.length === 0
    ? passed(CONFIG_NAME, "each side's own")
    : passed(CONFIG_NAME, acceptedWords(accepted.map(({ item, reason }) => ({ name: item.field, reason }))));
}

const wordsOf = ({ field, a, b }: ConfigDifference): string =>
  `${field}: ${JSON.stringify(a)} in a, ${JSON.stringify(b)} in b`;

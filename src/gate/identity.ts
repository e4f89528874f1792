// Whether both sides hold the same weights, whatever their layouts: bit for bit, or bit for bit once rounded.
import type { Check } from "../base/check.ts";
import type { Diff } from "../verify/diff.ts";
import type { Difference } from "../views/difference.ts";
import { castWords } from "../views/rounding.ts";
import { count, failed, notChecked, passed, some } from "./block.ts";
import type { Profile } from "./profile.ts";
import { type Accepted, acceptedWords, weightReason, withoutAccepted } from "./waivers.ts";

const SAME_TENSORS = "both sides have the same tensors";

/** Kinds of differences that are about which tensors there are. */
const OF_SETS: readonly Difference["kind"][] = ["missing", "extra"];

export const identityName = ({ name }: Profile, diff: Pick<Diff, "cast"> | null): string => {
  const types = diff?.cast?.types ?? [];
  switch (name) {
    case "same bytes":
      return "weights are equal bit for bit";
    case "same type":
      return "weights have the same types and shapes";
    case "cast":
      return `b is exactly the rounding of a${types.length > 0 ? `, ${castWords(types)}` : ""}`;
    case "quantised":
      return "weights are equal bit for bit, decoded";
    default:
      throw name satisfies never;
  }
};

export function identityChecks(diff: Diff, profile: Profile, accepted: Accepted): Check[] {
  const reasonOf = weightReason(accepted.weights);
  const { left, accepted: waived } = withoutAccepted(diff.differences, ({ key }) => reasonOf(key));
  const beside =
    waived.length === 0 ? [] : [acceptedWords(waived.map(({ item, reason }) => ({ name: item.key, reason })))];
  const sets = left.filter(({ kind }) => OF_SETS.includes(kind));
  const others = left.filter(({ kind }) => !OF_SETS.includes(kind));
  return [checkOf(SAME_TENSORS, sets, [`${count(diff.tensors, "tensor")}, by the keys of ${diff.keys}`]), ...weights()];

  function weights(): Check[] {
    const name = identityName(profile, diff);
    const held = [`${count(diff.tensors, "tensor")}, ${diff.bytes.toLocaleString("en-US")} bytes`, ...beside];
    if (profile.name !== "same type") return [checkOf(name, others, held)];
    const values = others.filter(({ kind }) => kind === "values");
    const rest = others.filter(({ kind }) => kind !== "values");
    const equal = "weights are equal bit for bit";
    return [
      checkOf(name, rest, held),
      values.length === 0
        ? passed(equal)
        : notChecked(equal, `${count(values.length, "tensor")} differ, as the profile lets them: ${words(values)}`),
    ];
  }
}

const words = (differences: readonly Difference[]): string =>
  some(differences.map(({ key, kind, detail }) => `${kind === "values" ? "" : `${kind} `}"${key}": ${detail}`));

const checkOf = (name: string, differences: readonly Difference[], held: readonly string[]): Check =>
  differences.length === 0 ? passed(name, held.join("; ")) : failed(name, words(differences));

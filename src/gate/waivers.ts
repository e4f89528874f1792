// Differences that somebody accepted, each with a reason that the page repeats.
import { globMatcher } from "../base/globs.ts";

/** Weights that may differ. */
export interface WeightWaiver {
  /** A pattern over Hugging Face keys. */
  readonly tensors: string;
  readonly reason: string;
}

/** A field of the configs that may differ. */
export interface ConfigWaiver {
  readonly field: string;
  readonly reason: string;
}

/** A known difference of upstream that may stand. */
export interface KnownWaiver {
  readonly code: string;
  /** The most that it may move the mean KL by, in nats per token. */
  readonly maxKl?: number | undefined;
  readonly reason?: string | undefined;
}

export interface Accepted {
  readonly known?: readonly KnownWaiver[] | undefined;
  readonly weights?: readonly WeightWaiver[] | undefined;
  readonly config?: readonly ConfigWaiver[] | undefined;
}

/** The items that nobody accepted, and of those accepted how many by which reason. */
export interface Sorted<T> {
  readonly left: readonly T[];
  readonly accepted: readonly { readonly item: T; readonly reason: string }[];
}

export function withoutAccepted<T>(items: readonly T[], reasonOf: (item: T) => string | undefined): Sorted<T> {
  const left: T[] = [];
  const accepted: { item: T; reason: string }[] = [];
  for (const item of items) {
    const reason = reasonOf(item);
    if (reason === undefined) left.push(item);
    else accepted.push({ item, reason });
  }
  return { left, accepted };
}

/** The reason by which a tensor may differ; undefined where none was given. Throws UsageError GLOB_EMPTY. */
export function weightReason(waivers: readonly WeightWaiver[] = []): (key: string) => string | undefined {
  const rules = waivers.map(({ tensors, reason }) => ({ matches: globMatcher(tensors), reason }));
  return (key) => rules.find(({ matches }) => matches(key))?.reason;
}

/** By the whole name, or by its last part: transformers 4 has `rope_theta` where 5 has `rope_parameters.rope_theta`. */
export const configReason =
  (waivers: readonly ConfigWaiver[] = []) =>
  (field: string): string | undefined =>
    waivers.find((waiver) => waiver.field === field || field.endsWith(`.${waiver.field}`))?.reason;

/** `2 accepted: rope_theta (trained on), …` */
export const acceptedWords = (accepted: readonly { readonly name: string; readonly reason: string }[]): string =>
  `${accepted.length} accepted: ${accepted.map(({ name, reason }) => `${name} (${reason})`).join(", ")}`;

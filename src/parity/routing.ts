// Whether both sides sent tokens to the same experts. Rounding may flip a near-tie, which is no fault of a conversion.
import type { Rows } from "../../numerics/ops/call.ts";
import type { Choice } from "../../numerics/routing.ts";
import type { RoutingChoice } from "./choices.ts";

/** One mixture of experts. */
export interface RoutingComparison {
  readonly name: string;
  readonly tokens: number;
  /** Tokens that chose other experts on the second side; null where there is one side only. */
  readonly flipped: number | null;
  /** The largest margin of the first side's choice among those tokens. Rounding flips only tiny margins. */
  readonly largestFlippedMargin: number | null;
  /** Smallest margin of any token of the first side. */
  readonly smallestMargin: number;
  /** Experts that some token chose, on the first side. */
  readonly expertsUsed: number;
}

export interface RoutingReport {
  readonly mode: RoutingChoice;
  /** Tokens × mixtures, and how many of them flipped. */
  readonly choices: number;
  readonly flipped: number | null;
  readonly largestFlippedMargin: number | null;
  readonly smallestMargin: number;
  readonly layers: readonly RoutingComparison[];
}

/** The choices of some positions. */
export function countedOf({ k, experts, weights, margins }: Choice, { begin, end }: Rows): Choice {
  const [first, last] = [begin * k, end * k];
  return {
    k,
    experts: experts.subarray(first, last),
    weights: weights.subarray(first, last),
    margins: margins.subarray(begin, end),
  };
}

/** Experts that some token chose, in order. */
export const usedIn = ({ experts }: Choice): number[] => [...new Set(experts)].sort((a, b) => a - b);

export function compareChoices(name: string, [first, second]: readonly Choice[]): RoutingComparison {
  const { k, margins } = first!;
  const tokens = margins.length;
  const row = (choice: Choice, t: number) =>
    [...choice.experts.subarray(t * k, (t + 1) * k)].sort((a, b) => a - b).join();
  const flipped =
    second && Array.from({ length: tokens }, (_, t) => t).filter((t) => row(first!, t) !== row(second, t));
  return {
    name,
    tokens,
    flipped: flipped?.length ?? null,
    largestFlippedMargin: flipped?.length ? flipped.reduce((most, t) => Math.max(most, margins[t]!), 0) : null,
    smallestMargin: margins.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY),
    expertsUsed: usedIn(first!).length,
  };
}

/** Null for a model without mixtures of experts. */
export function routingReport(mode: RoutingChoice, layers: readonly RoutingComparison[]): RoutingReport | null {
  if (layers.length === 0) return null;
  const compared = layers.every(({ flipped }) => flipped !== null);
  return {
    mode,
    choices: layers.reduce((sum, { tokens }) => sum + tokens, 0),
    flipped: compared ? layers.reduce((sum, { flipped }) => sum + (flipped ?? 0), 0) : null,
    largestFlippedMargin: layers.reduce<number | null>(
      (most, { largestFlippedMargin: x }) => (x === null ? most : Math.max(most ?? x, x)),
      null,
    ),
    smallestMargin: layers.reduce(
      (least, { smallestMargin }) => Math.min(least, smallestMargin),
      Number.POSITIVE_INFINITY,
    ),
    layers,
  };
}

// A reason why the sides differ, and what it is looked for in.
import type { Metrics } from "../../../../numerics/metrics.ts";
import { scientific } from "../../checks/check.ts";
import type { NoiseFloor } from "../../noise.ts";
import type { Evidence } from "../evidence.ts";
import type { WithoutKnown } from "../experiments.ts";
import type { Finding } from "../findings.ts";
import type { Laboratory, Rerun } from "../laboratory.ts";
import { thresholds } from "../limits.ts";
import type { Trial } from "../trial.ts";

/** A run that failed, and what can be asked further of its sides. */
export interface Case {
  readonly trial: Trial;
  readonly evidence: Evidence;
  readonly noise: NoiseFloor | null;
  /** Known upstream differences, and a run with them undone. */
  readonly known: WithoutKnown | null;
  /** With known upstream differences undone: they stand in the way of every other reason. */
  readonly seen: Rerun;
  /** What is wrong with them undone. */
  readonly remaining: readonly Finding[];
  readonly laboratory: Laboratory;
}

/** Whether a mean KL, in nats per token, is so small that nothing has to be found behind it, whatever limit was given. */
export const isAtFloor = ({ klMeanNats }: Metrics, noise: NoiseFloor | null): boolean =>
  klMeanNats <= thresholds({}, noise).klMeanNats;

export const nats = (metrics: Metrics): string => `${scientific(metrics.klMeanNats)} nats/token`;

export const plural = (count: number, one: string): string => `${count} ${one}${count === 1 ? "" : "s"}`;

/** One digit, rounded up. */
export function limitFor({ klMeanNats }: Metrics): string {
  const exponent = Math.floor(Math.log10(klMeanNats));
  return `${Math.ceil(klMeanNats / 10 ** exponent)}e${exponent}`;
}

// What rounding alone does on this backend: one side against itself, its linear maps summed in another order.
import type { Backend } from "../../numerics/backend.ts";
import { flopsBetween, type Recorded, type Restart, runForwards } from "../../numerics/driver.ts";
import { type Forward, type ForwardInput, SHORT_CHAIN } from "../../numerics/graph.ts";
import { LogitComparison } from "../../numerics/metrics.ts";
import type { SideWeights } from "./side.ts";

/** KL in nats per token, between logits that exact arithmetic would make equal. */
export interface NoiseFloor {
  readonly klMeanNats: number;
  readonly klMaxNats: number;
  readonly maxAbsDiff: number;
  readonly top1: number;
  /** Positions it was measured on: the first of the input. */
  readonly tokens: number;
  /** What was run twice. */
  readonly side: "a" | "b";
  readonly method: string;
}

/** Enough for a mean, and an eighth of the usual input: noise costs little beside what it is measured for. */
const TOKENS = 64;

const METHOD = `the same weights and experts, products added in chains of ${SHORT_CHAIN} instead of the usual ones`;

export interface NoiseSide {
  readonly weights: SideWeights;
  readonly forward: Forward;
  readonly at: 0 | 1;
}

/** FLOPs of the two passes. */
export const noiseFlops = (
  { weights, forward }: NoiseSide,
  whole: ForwardInput,
  restart: Restart | undefined,
): number => 2 * flopsBetween(weights.plan(forward, beginning(whole)), restart);

export interface NoiseOptions {
  /** With those done. */
  readonly onFlops: (flops: number) => void;
  /** Of a run by layers: the stretch before the logits, which begins with recorded values. */
  readonly restart?: Restart;
  readonly recorded?: Recorded;
}

/** Null where logits are not finite: rounding explains none of that. */
export async function measureNoise(
  backend: Backend,
  { weights, forward, at }: NoiseSide,
  whole: ForwardInput,
  { onFlops, restart, recorded }: NoiseOptions,
): Promise<NoiseFloor | null> {
  const input = beginning(whole);
  const plan = weights.plan(forward, input);
  const vocab = plan.logits[1]!;
  const side = {
    forward,
    plan,
    weight: (key: string) => weights.weight(key),
    has: (key: string) => weights.has(key),
  };
  const comparison = new LogitComparison(input.ids_T, vocab);
  await runForwards(
    backend,
    [side, { ...side, summation: "short" }],
    input,
    {
      logits: (_, [usual, short]) => comparison.add(usual!, short!),
      progress: ({ flops }) => onFlops(flops),
    },
    { pinned: true, restart, recorded: recorded && beginningOf(recorded, whole, input) },
  );
  const { klMeanNats, klMaxNats, maxAbsDiff, top1 } = comparison.metrics();
  if (!Number.isFinite(klMeanNats)) return null;
  return {
    klMeanNats,
    klMaxNats,
    maxAbsDiff,
    top1,
    tokens: input.ids_T.length,
    side: at === 0 ? "a" : "b",
    method: METHOD,
  };
}

/** What was recorded of the tokens that are run. */
const beginningOf = (recorded: Recorded, { ids_T: whole }: ForwardInput, { ids_T: run }: ForwardInput): Recorded => ({
  keys: () => recorded.keys(),
  get(tap) {
    const values = recorded.get(tap);
    return values?.subarray(0, (values.length / whole.length) * run.length);
  },
});

/** Images belong to all of their tokens: an input that has some is used whole. */
function beginning(input: ForwardInput): ForwardInput {
  if (input.images) return input;
  const { ids_T, positions_T3 } = input;
  return {
    ids_T: ids_T.slice(0, TOKENS),
    ...(positions_T3 ? { positions_T3: positions_T3.slice(0, TOKENS) } : {}),
  };
}

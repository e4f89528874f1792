// How far logits may be apart, each limit from what was measured in the same run, and the margin that is stated.
//
// The noise floor is the mean KL between one side and itself, its products added in another order. Between a native and an
// HF graph of the same weights, known differences undone, the mean KL was at most 1.0 times that floor: 62 pairs of 13
// families, in f32. In f64 the floor is 0, and what is left is the rounding of logits to f32: at most 2e-13.
import type { ParityReport } from "../../parity/parity.ts";

/** The limit is so many times the floor: ten times the largest ratio that was measured. */
const MARGIN = 10;
/** Mean KL in nats per token that logits rounded to f32 leave: five times the largest that was measured. */
const LOGITS_IN_F32 = 1e-12;

export interface MeasuredLimit {
  /** What is held against it. */
  readonly klMeanNats: number;
  readonly limitNats: number;
  /** Where the limit comes from, with its numbers. */
  readonly words: string;
}

const nats = (x: number): string => (x <= 0 ? "0" : x.toExponential(2));

/** Of a run whose sides should compute the same to the last digits. Null where no floor could be measured. */
export function limitOfRounding(report: ParityReport): MeasuredLimit | null {
  const { noiseFloor, metrics, klMeanNatsWithoutKnown } = report;
  if (noiseFloor === null) return null;
  const limitNats = Math.max(LOGITS_IN_F32, MARGIN * noiseFloor.klMeanNats);
  const floor = `the floor measured in this run, ${nats(noiseFloor.klMeanNats)}`;
  const from =
    limitNats === LOGITS_IN_F32
      ? `what logits in f32 leave, above ${MARGIN} × ${floor}`
      : `${MARGIN} × ${floor} on ${noiseFloor.tokens} tokens`;
  return {
    klMeanNats: klMeanNatsWithoutKnown ?? metrics.klMeanNats,
    limitNats,
    words: `limit ${nats(limitNats)} nats/token: ${from}`,
  };
}

/**
 * The largest margin of a choice of experts that rounding turns round: scores and logits are maps of the same hidden states,
 * so that scores are taken to move by no more than so many times what logits were measured to move by.
 */
export function largestTie({ noiseFloor }: ParityReport): number | null {
  return noiseFloor === null ? null : MARGIN * noiseFloor.maxAbsDiff;
}

/** Weights of one type may differ by a rounding on either side: twice what turning the last bit of each makes. */
const LAST_BITS = 2;

/** @param floor of a model against itself with the last bit of each weight turned round */
export function lastBitLimit({ metrics, noiseFloor }: ParityReport): Pick<MeasuredLimit, "limitNats" | "words"> {
  const rounding = MARGIN * (noiseFloor?.klMeanNats ?? 0);
  const limitNats = LAST_BITS * metrics.klMeanNats + Math.max(LOGITS_IN_F32, rounding);
  return {
    limitNats,
    words: `limit ${nats(limitNats)} nats/token: ${LAST_BITS} × ${nats(metrics.klMeanNats)}, measured on ${metrics.tokens} tokens with the last bit of every weight turned round, and ${MARGIN} × the noise floor`,
  };
}

export { nats };

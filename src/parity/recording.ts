// What the reference's pass left behind, so that a further run with one thing changed runs the other side alone.
import type { Values } from "../../numerics/driver.ts";
import type { ForwardPlan } from "../../numerics/shapes/plan.ts";

/**
 * Larger recordings are not made, and a further run runs both sides. A run streams logits and frees taps, so that it needs
 * memory for a layer; a recording keeps them all: 0.8 GB for 512 tokens of a model of 8 B parameters in f32 (65 taps of
 * 4096 channels, 128256 logits).
 */
const LARGEST_BYTES = 1 << 30;

/** The reference's pass on one input. */
export class Recording {
  readonly taps = new Map<string, Values>();
  private readonly logits: Float32Array;
  private readonly vocab: number;

  constructor({ logits: [tokens, vocab] }: ForwardPlan) {
    this.logits = new Float32Array(tokens! * vocab!);
    this.vocab = vocab!;
  }

  /** @param rows row-major [rows, V], of positions from `first` on */
  addLogits(first: number, rows: Float32Array): void {
    this.logits.set(rows, first * this.vocab);
  }

  /** Logits of positions [begin, end). */
  rows(begin: number, end: number): Float32Array {
    return this.logits.subarray(begin * this.vocab, end * this.vocab);
  }
}

/** @param plans of the reference on each input; @param valueBytes of a tap's value on the backend */
export function recordingBytes(plans: readonly ForwardPlan[], valueBytes: number): number {
  const taps = plans.flatMap(({ steps }) => steps.slice(0, -1).map(({ tapValues }) => tapValues * valueBytes));
  const logits = plans.map(({ logits: [tokens, vocab] }) => 4 * tokens! * vocab!);
  return [...taps, ...logits].reduce((sum, bytes) => sum + bytes, 0);
}

/** Whether there is room beside what a run needs. */
export const isRoomFor = (bytes: number, plannedBytes: number, maxRamBytes: number | undefined): boolean =>
  bytes <= LARGEST_BYTES && (maxRamBytes === undefined || plannedBytes + bytes <= maxRamBytes);

import { setImmediate } from "node:timers/promises";

export interface Progress {
  readonly label: string;
  /** Bytes read or written, of `total`. */
  readonly done: number;
  readonly total: number;
}

export interface StepOptions {
  readonly onProgress?: (event: Progress) => void;
  readonly signal?: AbortSignal;
}

/** After this time, signals are handled and progress is reported. */
const TURN_MS = 50;

/** Runs work that yields its steps at once. */
export function runAtOnce<T>(work: Generator<number, T, void>): T {
  let next = work.next();
  while (!next.done) next = work.next();
  return next.value;
}

/** Runs synchronous work that yields the bytes of each step, giving way to other events now and then. */
export async function runSteps<T>(
  work: Generator<number, T, void>,
  label: string,
  total: number,
  { onProgress, signal }: StepOptions,
): Promise<T> {
  let done = 0;
  let turn = performance.now();
  for (;;) {
    const next = work.next();
    if (next.done) return next.value;
    done += next.value;
    if (performance.now() - turn < TURN_MS) continue;
    onProgress?.({ label, done: Math.min(done, total), total });
    await setImmediate();
    turn = performance.now();
    signal?.throwIfAborted();
  }
}

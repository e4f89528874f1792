// SIGINT, SIGTERM and SIGHUP.
import { Interrupted } from "./fail.ts";

/** What runs of a process share of its signals. */
export interface Signals {
  /** Aborted by a signal while they are held. */
  readonly signal: AbortSignal;
  /**
   * From here on a signal aborts `signal` instead of ending the process. Only for work that has something to leave in
   * order, and gives way to events all the time.
   */
  hold(): void;
  /** Signals end the process again. */
  release(): void;
}

const CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
const NAMES = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * Signals of this process. Where nothing is held the system ends it at once: no handler of ours could run while headers are
 * parsed or a table is expanded, however long that takes.
 */
export function processSignals(): Signals {
  const abort = new AbortController();
  const onSignal = (name: (typeof NAMES)[number]) => {
    // The second signal does not wait for a tidy end.
    if (abort.signal.aborted) process.exit(CODES[name]);
    abort.abort(new Interrupted(name, CODES[name]));
  };
  const each = (change: "on" | "off") => {
    for (const name of NAMES) process[change](name, onSignal);
  };
  // The system never ends the first process of a container by a signal that it does not handle.
  const isFirst = process.pid === 1;
  if (isFirst) each("on");
  return {
    signal: abort.signal,
    hold: () => {
      if (!isFirst) each("on");
    },
    release: () => {
      if (!isFirst) each("off");
    },
  };
}

/** What `work` gives, or the reason of a signal as soon as it comes: `work` is then left as it is. */
export function untilAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  return Promise.race([work, aborted]);
}

// How long a server is left alone before it is asked again.

/** Answers that may be another one later: too many requests, or a server that is not itself. */
export const PASSING: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504]);

/** Without any progress between them. With their pauses, some half a minute. */
export const MOST_TRIES = 8;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 8_000;
/** A server that asks for more is not waited for. */
const LONGEST_ASKED_MS = 600_000;

/** Before the next try; null where the server wants it too late. @param tries that failed so far, from 1 */
export function pauseMs(tries: number, headers: Headers | null): number | null {
  const asked = headers === null ? null : askedMs(headers);
  if (asked !== null) return asked > LONGEST_ASKED_MS ? null : asked;
  return Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (tries - 1)) * (0.75 + Math.random() / 2);
}

/** By `Retry-After`, in seconds or as a date, or by the Hub's `RateLimit`: `"api";r=0;t=55`. */
function askedMs(headers: Headers): number | null {
  const after = headers.get("Retry-After");
  if (after !== null) {
    const ms = /^\s*\d+(?:\.\d+)?\s*$/.test(after) ? Number(after) * 1000 : Date.parse(after) - Date.now();
    if (Number.isFinite(ms)) return Math.max(0, ms);
  }
  const [, left, seconds] = /;\s*r\s*=\s*(\d+)\s*;\s*t\s*=\s*(\d+)/.exec(headers.get("RateLimit") ?? "") ?? [];
  return left === "0" ? Number(seconds) * 1000 : null;
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

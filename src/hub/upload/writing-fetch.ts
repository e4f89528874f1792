// The `fetch` of uploads: it waits and asks again where the server says so, or where nobody can tell what happened.
import { ConvertCheckpointError } from "../../base/errors.ts";
import type { HubSettings } from "../settings.ts";
import { addressOf, networkFetch } from "../web/network.ts";
import { MOST_TRIES, PASSING, pauseMs } from "../web/pauses.ts";

/** A part of a large file may take a server long to take in; a file that is put together from its parts, too. */
const ANSWER_MS = 300_000;

/** Throws what `fetch` throws, or hands out the last answer. Bodies are blobs and texts: each try sends them from the start. */
export function writingFetch(settings: HubSettings, signal: AbortSignal): typeof fetch {
  const network = networkFetch({ ...settings, timeoutMs: Math.max(ANSWER_MS, settings.timeoutMs) });
  const fetcher = authorised(network, settings);
  return async (input, init) => {
    const once = isOnce(addressOf(input), init);
    for (let tries = 1; ; tries += 1) {
      signal.throwIfAborted();
      const answer = await attempt(() => fetcher(input, { ...init, signal }));
      const isLast = tries === MOST_TRIES;
      if ("error" in answer) {
        if (signal.aborted || once || isLast || !isNetworks(answer.error)) throw answer.error;
        await pause(pauseMs(tries, null) ?? 0, signal);
        continue;
      }
      const { response } = answer;
      const { status, headers } = response;
      if (!PASSING.has(status) || isLast || (once && status !== 429)) return response;
      const ms = pauseMs(tries, headers);
      if (ms === null) return response;
      await response.body?.cancel();
      await pause(ms, signal);
    }
  };
}

/** The token for the Hub: its client takes none but those of one form, and storage elsewhere must see none. */
function authorised(fetcher: typeof fetch, { endpoint, token }: HubSettings): typeof fetch {
  const { origin } = new URL(endpoint);
  return (input, init) => {
    if (token === null || new URL(addressOf(input)).origin !== origin) return fetcher(input, init);
    const headers = new Headers(init?.headers);
    headers.set("Authorization", `Bearer ${token}`);
    return fetcher(input, { ...init, headers });
  };
}

/** A pull request that may have been opened is not opened again. */
const isOnce = (url: string, init: RequestInit | undefined): boolean =>
  init?.method === "POST" && /\/commit\/[^/?]+\?create_pr=1$/.test(url);

type Answer = { readonly response: Response } | { readonly error: unknown };

async function attempt(call: () => Promise<Response>): Promise<Answer> {
  try {
    return { response: await call() };
  } catch (error) {
    return { error };
  }
}

/** `fetch` says TypeError of whatever kept it from an answer; the cause is ours where a file could not be read. */
const isNetworks = (error: unknown): boolean =>
  error instanceof TypeError && !(error.cause instanceof ConvertCheckpointError);

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal.addEventListener("abort", stop, { once: true });
  });
}

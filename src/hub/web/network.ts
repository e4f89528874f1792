// `fetch` by way of the proxies that the environment names. Node's own knows none before version 24.
import { channel } from "node:diagnostics_channel";
import { Agent, type Dispatcher, EnvHttpProxyAgent, fetch as undiciFetch } from "undici";
import type { HubSettings } from "../settings.ts";

/** Connections to one host at a time. */
const CONNECTIONS = 16;

/** @throws TypeError of its calls where a host cannot be reached, with the cause */
export function networkFetch({ proxies, timeoutMs, agent }: Pick<HubSettings, "proxies" | "timeoutMs" | "agent">) {
  const timeouts = { headersTimeout: timeoutMs, bodyTimeout: timeoutMs, connect: { timeout: timeoutMs } };
  const through = (proxy: string | null): Dispatcher =>
    proxy === null
      ? new Agent({ ...timeouts, connections: CONNECTIONS })
      : new EnvHttpProxyAgent({
          ...timeouts,
          connections: CONNECTIONS,
          httpProxy: proxy,
          httpsProxy: proxy,
          noProxy: proxies.no,
          // A proxy is asked for `http:` addresses by their whole name, and to connect for those of `https:`.
          proxyTunnel: false,
        });
  let plain: Dispatcher | undefined;
  let secure: Dispatcher | undefined;
  const fetcher: typeof undiciFetch = (input, init) => {
    const isSecure = addressOf(input).startsWith("https:");
    if (isSecure) secure ??= through(proxies.https);
    else plain ??= through(proxies.http);
    const headers = new Headers(init?.headers as ConstructorParameters<typeof Headers>[0]);
    if (!headers.has("user-agent")) headers.set("user-agent", agent);
    const asked = { ...init, headers: [...headers], dispatcher: (isSecure ? secure : plain)! };
    if (!isSecure || proxies.https === null) return undiciFetch(input, asked);
    return unlessHungUp(new URL(addressOf(input)).host, init?.signal ?? null, (signal) =>
      undiciFetch(input, { ...asked, signal }),
    );
  };
  // The types of the package and those of Node's own differ in names alone.
  return fetcher as unknown as typeof fetch;
}

/** The address of what `fetch` is given. */
export const addressOf = (input: string | URL | { readonly url: string }): string =>
  typeof input === "string" ? input : input instanceof URL ? input.href : input.url;

/** Of a proxy that is asked to connect and hangs up. */
const MOST_HANG_UPS = 3;
const CONNECT_ERRORS = "undici:client:connectError";

/** undici asks such a proxy again at once, and for ever: here that is an error like that of a host that is not there. */
async function unlessHungUp<T>(
  host: string,
  given: AbortSignal | null,
  ask: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  let hangUps = 0;
  const count = (message: unknown): void => {
    const { connectParams, error } = message as { connectParams: { host: string }; error: Error };
    if (connectParams.host !== host) return;
    hangUps += 1;
    if (hangUps >= MOST_HANG_UPS) controller.abort(new TypeError("fetch failed", { cause: error }));
  };
  const errors = channel(CONNECT_ERRORS);
  errors.subscribe(count);
  try {
    return await ask(given === null ? controller.signal : AbortSignal.any([given, controller.signal]));
  } finally {
    errors.unsubscribe(count);
  }
}

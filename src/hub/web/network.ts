// `fetch` by way of the proxies that the environment names. Node's own knows none before version 24.
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
    return undiciFetch(input, { ...init, headers: [...headers], dispatcher: (isSecure ? secure : plain)! });
  };
  // The types of the package and those of Node's own differ in names alone.
  return fetcher as unknown as typeof fetch;
}

/** The address of what `fetch` is given. */
export const addressOf = (input: string | URL | { readonly url: string }): string =>
  typeof input === "string" ? input : input instanceof URL ? input.href : input.url;

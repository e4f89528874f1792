// One request of the Hub, over its redirects: the token goes to the Hub alone.
import type { HubSettings } from "../settings.ts";

const MOST_HOPS = 10;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

export interface Followed {
  readonly response: Response;
  /** Where the answer came from in the end. */
  readonly url: string;
  /** The etag that the Hub itself says of the file, else that of whoever keeps it. */
  readonly etag: string | null;
}

/** Throws what `fetcher` throws, and Error where an answer leads nowhere. */
export async function follow(
  fetcher: typeof fetch,
  { endpoint, token }: Pick<HubSettings, "endpoint" | "token">,
  url: string,
  init: RequestInit | undefined,
): Promise<Followed> {
  const home = new URL(endpoint).origin;
  const given = new Headers(init?.headers);
  const start = new URL(url).origin;
  let linked: string | null = null;
  let at = new URL(url);
  for (let hops = 0; hops <= MOST_HOPS; hops += 1) {
    const headers = new Headers(given);
    // Ranges are of the bytes as they are kept.
    headers.set("Accept-Encoding", "identity");
    if (at.origin !== start) headers.delete("Authorization");
    if (token !== null && at.origin === home && !headers.has("Authorization")) {
      headers.set("Authorization", `Bearer ${token}`);
    }
    const response = await fetcher(at, { ...init, headers, redirect: "manual" });
    linked ??= etagIn(response.headers, "X-Linked-ETag");
    const next = response.headers.get("Location");
    if (!REDIRECTS.has(response.status) || next === null) {
      return { response, url: at.href, etag: linked ?? etagIn(response.headers, "ETag") };
    }
    await response.body?.cancel();
    at = new URL(next, at);
    if (at.protocol !== "http:" && at.protocol !== "https:") throw new Error(`a redirect to ${at.protocol}`);
  }
  throw new Error(`more than ${MOST_HOPS} redirects`);
}

/** Without its quotes, and without the mark of one that says less. */
const etagIn = (headers: Headers, name: string): string | null =>
  headers.get(name)?.replace(/^W\//, "").replace(/^"|"$/g, "") ?? null;

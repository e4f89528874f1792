// What all routes of the loopback Hub share.
import type { Exchange } from "./exchange.ts";
import type { Repo, Repos } from "./repos.ts";
import type { Stored } from "./stored.ts";

export interface State {
  readonly repos: Repos;
  /** What was uploaded, whether a commit names it or not. */
  readonly stored: Stored;
  /** Tokens that are good, and what they may: `read` sees private and gated repositories, `write` changes all. */
  readonly tokens: Map<string, "read" | "write" | "ungranted">;
  /** Entries of a page of the tree; the Hub's own is 1000. */
  readonly pageSize: number;
  /** Whether small files are answered from another path of the same server, as the Hub does. */
  readonly resolveCache: boolean;
  /** Another host, by its name: what a token must not reach. */
  readonly cdnOrigin: () => string;
  readonly casOrigin: () => string;
}

/** True where it answered. */
export type Route = (exchange: Exchange, state: State) => Promise<boolean>;

/** The repository that is asked for, or an answer that says what the Hub does where it may not be seen. */
export async function repoFor(
  exchange: Exchange,
  { repos, tokens }: State,
  type: Repo["type"],
  id: string,
): Promise<Repo | null> {
  const { token } = exchange.seen;
  const right = token === null ? undefined : tokens.get(token);
  if (token !== null && right === undefined) {
    await exchange.refuse(401, null, "Invalid credentials in Authorization header");
    return null;
  }
  const repo = repos.find(type, id);
  if (repo === undefined || (repo.isPrivate && right !== "read" && right !== "write")) {
    // To those who are nobody, what is private and what is not there look the same.
    if (token === null) await exchange.refuse(401, "RepoNotFound", "Invalid username or password.");
    else await exchange.refuse(404, "RepoNotFound", "Repository not found");
    return null;
  }
  return repo;
}

/** Whether content of a gated repository may be read; where not, the answer says why. */
export async function isGranted(exchange: Exchange, { tokens }: State, repo: Repo): Promise<boolean> {
  const { token } = exchange.seen;
  const right = token === null ? undefined : tokens.get(token);
  if (!repo.isGated || right === "read" || right === "write") return true;
  const why =
    token === null
      ? `Access to model ${repo.id} is restricted. You must have access to it and be authenticated to access it. Please log in.`
      : `Access to model ${repo.id} is restricted and you are not in the authorized list. Visit ${exchange.origin}/${repo.id} to ask for access.`;
  await exchange.refuse(token === null ? 401 : 403, "GatedRepo", why);
  return false;
}

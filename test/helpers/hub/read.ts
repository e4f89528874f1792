// The Hub's read half: what a repository is, what is in it, and its files.
import type { Exchange } from "./exchange.ts";
import { type Commit, commitOf, type HubFile, pointerOf, type Repo } from "./repos.ts";
import { isGranted, type Route, repoFor, type State } from "./state.ts";

const REPO = "(?<type>models|datasets)/(?<id>[^/]+/[^/]+)";
const API = new RegExp(`^/api/${REPO}(?:/(?<call>revision|tree|paths-info|xet-read-token)/(?<rest>.*))?$`);
const RESOLVE =
  /^\/(?:(?<type>models|datasets)\/)?(?<id>[^/]+\/[^/]+)\/(?<call>resolve|raw)\/(?<revision>[^/]+)\/(?<path>.+)$/;
const CACHED = new RegExp(`^/api/resolve-cache/${REPO}/(?<revision>[^/]+)/(?<path>.+)$`);
/** A page may be smaller where much is told of each entry. */
const EXPANDED_PAGE = 100;

interface Place {
  readonly repo: Repo;
  readonly commit: Commit;
  readonly state: State;
}

const typeOf = (type: string | undefined): Repo["type"] => (type === "datasets" ? "dataset" : "model");

export const readRoutes: Route = async (exchange, state) => {
  const { pathname } = exchange.url;
  const cached = CACHED.exec(pathname)?.groups;
  if (cached !== undefined) return resolve(exchange, state, cached, true);
  const api = API.exec(pathname)?.groups;
  if (api !== undefined && exchange.method !== "PUT" && exchange.method !== "DELETE") return info(exchange, state, api);
  const file = RESOLVE.exec(pathname)?.groups;
  if (file !== undefined && (exchange.method === "GET" || exchange.method === "HEAD"))
    return resolve(exchange, state, file, false);
  return false;
};

type Groups = Readonly<Record<string, string | undefined>>;

async function info(exchange: Exchange, state: State, { type, id = "", call, rest = "" }: Groups): Promise<boolean> {
  if (call === undefined && exchange.method !== "GET") return false;
  const repo = await repoFor(exchange, state, typeOf(type), id);
  if (repo === null) return true;
  const found = revisionIn(repo, call === undefined ? "main" : rest, call === "tree");
  if (found === null) {
    await exchange.refuse(404, "RevisionNotFound", `Invalid rev id: ${decodeURIComponent(rest)}`);
    return true;
  }
  const place = { repo, commit: found.commit, state };
  if (call === undefined || call === "revision") await exchange.json(aboutRepo(place));
  else if (call === "tree") await tree(exchange, place, found.path);
  else if (call === "paths-info") await pathsInfo(exchange, place);
  else await xetToken(exchange, place);
  return true;
}

/** A revision whose slashes are encoded, and after it a path. The client does not encode that of a tree: `refs/pr/1`. */
function revisionIn(repo: Repo, rest: string, hasPath: boolean): { commit: Commit; path: string } | null {
  const parts = rest.split("/").map(decodeURIComponent);
  for (let n = 1; n <= (hasPath ? Math.min(parts.length, 3) : parts.length); n += 1) {
    const commit = commitOf(repo, parts.slice(0, n).join("/"));
    if (commit !== undefined) return { commit, path: parts.slice(n).filter(Boolean).join("/") };
  }
  const head = parts[0] === "HEAD" ? commitOf(repo, "main") : undefined;
  return head === undefined ? null : { commit: head, path: "" };
}

function aboutRepo({ repo, commit }: Place): unknown {
  return {
    _id: repo.id,
    id: repo.id,
    sha: commit.id,
    private: repo.isPrivate,
    gated: repo.isGated ? "auto" : false,
    downloads: 0,
    likes: 0,
    lastModified: "2026-01-01T00:00:00.000Z",
    siblings: [...commit.files.keys()].map((rfilename) => ({ rfilename })),
  };
}

function entryOf(path: string, { oid, size, sha256, isLfs, xetHash }: HubFile, commit: Commit | null): unknown {
  return {
    type: "file",
    oid,
    size,
    path,
    ...(isLfs ? { lfs: { oid: sha256, size, pointerSize: pointerOf(sha256, size).length } } : {}),
    ...(xetHash === undefined ? {} : { xetHash }),
    ...(commit === null
      ? {}
      : { lastCommit: { id: commit.id, title: commit.title, date: "2026-01-01T00:00:00.000Z" } }),
  };
}

async function tree(exchange: Exchange, { repo, commit, state }: Place, below: string): Promise<void> {
  const { searchParams } = exchange.url;
  const isRecursive = searchParams.get("recursive") === "true";
  const isExpanded = searchParams.get("expand") === "true";
  const prefix = below === "" ? "" : `${below}/`;
  const entries = new Map<string, unknown>();
  for (const [path, file] of commit.files) {
    if (!path.startsWith(prefix)) continue;
    const parts = path.slice(prefix.length).split("/");
    for (let n = 1; n < (isRecursive ? parts.length : Math.min(parts.length, 2)); n += 1) {
      const folder = prefix + parts.slice(0, n).join("/");
      entries.set(folder, { type: "directory", oid: commit.id, size: 0, path: folder });
    }
    if (isRecursive || parts.length === 1) entries.set(path, entryOf(path, file, isExpanded ? commit : null));
  }
  if (below !== "" && entries.size === 0)
    return exchange.refuse(404, "EntryNotFound", `${below} does not exist on "${commit.id}"`);
  const sorted = [...entries].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry);
  const begin = Number(searchParams.get("cursor") ?? 0);
  const end = begin + (isExpanded ? Math.min(EXPANDED_PAGE, state.pageSize) : state.pageSize);
  const next = new URL(exchange.url);
  next.searchParams.set("cursor", String(end));
  await exchange.json(sorted.slice(begin, end), {
    "X-Repo-Commit": commit.id,
    ...(end < sorted.length ? { Link: `<${next.href}>; rel="next"` } : {}),
    "X-Total": `${repo.commits.size}`,
  });
}

async function pathsInfo(exchange: Exchange, { commit }: Place): Promise<void> {
  const asked: unknown = JSON.parse((await exchange.body()).toString());
  const { paths, expand } = asked as { paths: readonly string[]; expand?: boolean };
  const found = paths.flatMap((path) => {
    const file = commit.files.get(path);
    if (file !== undefined) return [entryOf(path, file, expand === true ? commit : null)];
    const isFolder = [...commit.files.keys()].some((each) => each.startsWith(`${path}/`));
    return isFolder ? [{ type: "directory", oid: commit.id, size: 0, path }] : [];
  });
  await exchange.json(found);
}

async function xetToken(exchange: Exchange, { repo, state }: Place): Promise<void> {
  if (!(await isGranted(exchange, state, repo))) return;
  const exp = Math.floor(Date.now() / 1000) + 3600;
  await exchange.json({ casUrl: state.casOrigin(), exp, accessToken: "xet-read" });
}

async function resolve(exchange: Exchange, state: State, groups: Groups, isCache: boolean): Promise<boolean> {
  const repo = await repoFor(exchange, state, typeOf(groups.type), groups.id ?? "");
  if (repo === null || !(await isGranted(exchange, state, repo))) return true;
  const revision = decodeURIComponent(groups.revision ?? "");
  const commit = commitOf(repo, revision);
  if (commit === undefined) {
    await exchange.refuse(404, "RevisionNotFound", `Invalid rev id: ${revision}`);
    return true;
  }
  const path = decodeURIComponent(groups.path ?? "");
  const file = commit.files.get(path);
  if (file === undefined) await exchange.refuse(404, "EntryNotFound", "Entry not found");
  else if (groups.call === "raw") await sendRaw(exchange, file, commit);
  else if (file.isLfs) await redirectToLfs(exchange, { repo, commit, state }, file, path);
  else if (state.resolveCache && !isCache) {
    const at = `/api/resolve-cache/${repo.type}s/${repo.id}/${commit.id}/${encodeURI(path)}?etag=${file.oid}`;
    const headers = {
      "X-Repo-Commit": commit.id,
      "X-Linked-Size": `${file.size}`,
      "X-Linked-ETag": quoted(exchange, file.oid),
    };
    await exchange.send(307, { ...headers, Location: at });
  } else await exchange.sendFile({ ...file, etag: file.oid }, { "X-Repo-Commit": commit.id });
  return true;
}

const quoted = (exchange: Exchange, etag: string): string => `"${exchange.etag(etag)}"`;

function sendRaw(exchange: Exchange, file: HubFile, commit: Commit): Promise<void> {
  const pointer = Buffer.from(pointerOf(file.sha256, file.size));
  const sent = file.isLfs ? { content: pointer, size: pointer.length } : file;
  return exchange.sendFile({ ...sent, etag: file.oid }, { "X-Repo-Commit": commit.id });
}

/** To another host, by an address that is good for some time and needs no token. */
async function redirectToLfs(
  exchange: Exchange,
  { repo, commit, state }: Place,
  file: HubFile,
  path: string,
): Promise<void> {
  const headers = {
    "X-Repo-Commit": commit.id,
    "X-Linked-Size": `${file.size}`,
    "X-Linked-ETag": quoted(exchange, file.sha256),
    "Accept-Ranges": "bytes",
  };
  const { xetHash } = file;
  if (xetHash !== undefined && exchange.request.headers.accept?.includes("application/vnd.xet-fileinfo+json")) {
    const refresh = `${exchange.origin}/api/${repo.type}s/${repo.id}/xet-read-token/${commit.id}`;
    const reconstruct = `${state.casOrigin()}/v1/reconstructions/${xetHash}`;
    const links = `<${refresh}>; rel="xet-auth", <${reconstruct}>; rel="xet-reconstruction-info"`;
    const type = "application/vnd.xet-fileinfo+json";
    return exchange.send(200, { ...headers, "X-Xet-Hash": xetHash, Link: links, "Content-Type": type }, "{}");
  }
  const signed = new URL(`/lfs/${file.sha256}`, state.cdnOrigin());
  signed.searchParams.set("name", path);
  signed.searchParams.set("signature", "good");
  return exchange.send(302, { ...headers, Location: signed.href });
}

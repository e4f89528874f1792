// The Hub's write half: repositories made, LFS objects asked for, and commits.
import type { Exchange } from "./exchange.ts";
import { type Commit, commit, commitOf, type HubFile, hasLfsName, hubFile, type Repo } from "./repos.ts";
import { isGranted, type Route, repoFor, type State } from "./state.ts";
import { objectWith } from "./storage.ts";

const API = /^\/api\/models\/(?<id>[^/]+\/[^/]+)\/(?<call>preupload|commit|branch|xet-write-token)\/(?<rest>.+)$/;
const BATCH = /^\/(?<id>[^/]+\/[^/]+)\.git\/info\/lfs\/objects\/batch$/;

export const writeRoutes: Route = async (exchange, state) => {
  const { pathname } = exchange.url;
  if (exchange.method !== "POST") {
    const token = API.exec(pathname)?.groups;
    return exchange.method === "GET" && token?.call === "xet-write-token" ? xetToken(exchange, state, token) : false;
  }
  if (pathname === "/api/repos/create") return create(exchange, state);
  if (pathname === "/api/complete_multipart") return complete(exchange, state);
  const lfs = BATCH.exec(pathname)?.groups;
  if (lfs !== undefined) return within(exchange, state, lfs.id, (repo) => batch(exchange, state, repo));
  const api = API.exec(pathname)?.groups;
  if (api === undefined) return false;
  const { id, call, rest = "" } = api;
  const revision = decodeURIComponent(rest);
  return within(exchange, state, id, async (repo) => {
    if (call === "branch") await makeBranch(exchange, repo, revision);
    else if (commitOf(repo, revision) === undefined) {
      await exchange.refuse(404, "RevisionNotFound", `Invalid rev id: ${revision}`);
    } else if (call === "preupload") await preupload(exchange);
    else await makeCommit(exchange, state, repo, revision);
  });
};

/** What no one but a writer may: a proposal asks for its storage without naming a branch. */
const isOpen = (exchange: Exchange): boolean => isPullRequest(exchange) || BATCH.test(exchange.url.pathname);

const isPullRequest = (exchange: Exchange): boolean => exchange.url.searchParams.get("create_pr") === "1";

/** In a repository that may be written, or, where a pull request is opened, read. */
async function within(
  exchange: Exchange,
  state: State,
  id: string | undefined,
  act: (repo: Repo) => Promise<void>,
): Promise<boolean> {
  const repo = await repoFor(exchange, state, "model", id ?? "");
  if (repo === null || !(await isGranted(exchange, state, repo))) return true;
  const right = state.tokens.get(exchange.seen.token ?? "");
  if (right === undefined) await exchange.refuse(401, null, "Invalid username or password.");
  else if (right !== "write" && !isOpen(exchange)) {
    await exchange.refuse(403, null, "Forbidden: you need write access: your token only has read rights.");
  } else await act(repo);
  return true;
}

const jsonOf = async <T>(exchange: Exchange): Promise<T> => JSON.parse((await exchange.body()).toString()) as T;

async function create(exchange: Exchange, state: State): Promise<boolean> {
  const asked = await jsonOf<{ name: string; organization: string; visibility?: string }>(exchange);
  const id = `${asked.organization}/${asked.name}`;
  if (state.tokens.get(exchange.seen.token ?? "") !== "write") {
    await exchange.refuse(
      403,
      null,
      `You don't have the rights to create a model under the namespace "${asked.organization}"`,
    );
  } else if (state.repos.find("model", id) !== undefined) {
    await exchange.refuse(409, null, "You already created this model repo");
  } else {
    const repo = state.repos.create("model", id);
    repo.isPrivate = asked.visibility === "private";
    commit(repo, "main", "initial commit", new Map([[".gitattributes", attributes()]]));
    await exchange.json({ url: `${exchange.origin}/${id}`, name: id, id });
  }
  return true;
}

const attributes = (): HubFile =>
  hubFile(".gitattributes", Buffer.from("*.safetensors filter=lfs diff=lfs merge=lfs -text\n"));

async function makeBranch(exchange: Exchange, repo: Repo, branch: string): Promise<void> {
  const { emptyBranch = false } = await jsonOf<{ emptyBranch?: boolean }>(exchange);
  if (repo.refs.has(branch)) return exchange.refuse(409, null, `Reference already exists: ${branch}`);
  if (emptyBranch) commit(repo, branch, "initial commit", new Map([[".gitattributes", attributes()]]));
  else repo.refs.set(branch, commitOf(repo, "main")!.id);
  return exchange.json({});
}

async function preupload(exchange: Exchange): Promise<void> {
  const { files } = await jsonOf<{ files: readonly { path: string; size: number }[] }>(exchange);
  await exchange.json({
    files: files.map(({ path, size }) => ({
      path,
      uploadMode: hasLfsName(path, size) ? "lfs" : "regular",
      shouldIgnore: false,
    })),
  });
}

interface Asked {
  readonly ref?: { readonly name: string };
  readonly transfers: readonly string[];
  readonly objects: readonly { readonly oid: string; readonly size: number }[];
}

/** What of the objects has to be sent, and where to. */
async function batch(exchange: Exchange, state: State, repo: Repo): Promise<void> {
  const { transfers, objects, ref } = await jsonOf<Asked>(exchange);
  if (ref !== undefined && state.tokens.get(exchange.seen.token ?? "") !== "write") {
    return exchange.refuse(403, null, "Forbidden: you need write access.");
  }
  const isXet = state.stored.isXet && transfers.includes("xet");
  const answers = objects.map(({ oid, size }) => {
    const isThere =
      state.stored.objects.has(oid) || objectWith(state.repos, (file) => file.sha256 === oid) !== undefined;
    if (isThere) return { oid, size };
    if (isXet) return { oid, size, actions: { upload: xetUpload(exchange, repo, state) } };
    return {
      oid,
      size,
      authenticated: true,
      actions: { upload: state.stored.upload(oid, size, exchange.origin, state.cdnOrigin()) },
    };
  });
  const isParts = objects.some(({ size }) => size > state.stored.partBytes);
  await exchange.json(
    { transfer: isXet ? "xet" : isParts ? "multipart" : "basic", objects: answers },
    { "Content-Type": "application/vnd.git-lfs+json", "X-Request-Id": "batch-1" },
  );
}

function xetUpload(exchange: Exchange, repo: Repo, state: State): unknown {
  return {
    href: `${exchange.origin}/api/models/${repo.id}/xet-write-token/main`,
    header: {
      "X-Xet-Session-Id": "session-1",
      "X-Xet-Cas-Url": state.casOrigin(),
      "X-Xet-Access-Token": "xet-write",
      "X-Xet-Token-Expiration": `${Math.floor(Date.now() / 1000) + 3600}`,
    },
  };
}

async function xetToken(exchange: Exchange, state: State, { id }: Readonly<Record<string, string>>): Promise<boolean> {
  return within(exchange, state, id, () =>
    exchange.json({ casUrl: state.casOrigin(), exp: Math.floor(Date.now() / 1000) + 3600, accessToken: "xet-write" }),
  );
}

async function complete(exchange: Exchange, { stored }: State): Promise<boolean> {
  const { parts } = await jsonOf<{ parts: readonly { partNumber: number; etag: string }[] }>(exchange);
  const fault = stored.complete(exchange.url.searchParams.get("uploadId") ?? "", parts);
  if (fault === null) await exchange.json({});
  else await exchange.refuse(400, null, fault);
  return true;
}

type Line =
  | { readonly key: "header"; readonly value: { readonly summary: string; readonly parentCommit?: string } }
  | { readonly key: "file"; readonly value: { readonly path: string; readonly content: string } }
  | { readonly key: "lfsFile"; readonly value: { readonly path: string; readonly oid: string; readonly size: number } }
  | { readonly key: "deletedFile"; readonly value: { readonly path: string } };

async function makeCommit(exchange: Exchange, state: State, repo: Repo, revision: string): Promise<void> {
  const lines = (await exchange.body())
    .toString()
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Line);
  const head = commitOf(repo, revision)!;
  const [first] = lines;
  const header = first?.key === "header" ? first.value : { summary: "" };
  if (header.parentCommit !== undefined && header.parentCommit !== head.id) {
    return exchange.refuse(412, null, "A commit has happened since. Please refresh and try again.");
  }
  const files = new Map(head.files);
  const fault = applied(files, lines, state);
  if (fault !== null) return exchange.refuse(400, null, fault);
  if (await exchange.isLost("before")) return;
  const made = isPullRequest(exchange)
    ? asPullRequest(repo, header.summary, files)
    : { commit: commit(repo, revision, header.summary, files) };
  if (await exchange.isLost("after")) return;
  await exchange.json({
    success: true,
    commitOid: made.commit.id,
    commitUrl: `${exchange.origin}/${repo.id}/commit/${made.commit.id}`,
    hookOutput: "",
    ...("number" in made ? { pullRequestUrl: `${exchange.origin}/${repo.id}/discussions/${made.number}` } : {}),
  });
}

/** What is wrong with them, or null. */
function applied(files: Map<string, HubFile>, lines: readonly Line[], state: State): string | null {
  for (const line of lines) {
    switch (line.key) {
      case "header":
        break;
      case "file":
        files.set(line.value.path, hubFile(line.value.path, Buffer.from(line.value.content, "base64"), false, false));
        break;
      case "lfsFile": {
        const { path, oid, size } = line.value;
        const content =
          state.stored.objects.get(oid) ?? objectWith(state.repos, (file) => file.sha256 === oid)?.content;
        if (content === undefined)
          return `Your push was rejected because an LFS pointer pointed to a file that does not exist: ${path}`;
        const xetHash = state.stored.xet.names.get(oid);
        const file = {
          ...hubFile(path, content, state.stored.isXet, true),
          ...(xetHash === undefined ? {} : { xetHash }),
        };
        if (file.sha256 !== oid || file.size !== size) return `${path} is not what was stored`;
        files.set(path, file);
        break;
      }
      case "deletedFile":
        if (!files.delete(line.value.path)) return `A file with the name "${line.value.path}" does not exist`;
        break;
      default:
        throw line satisfies never;
    }
  }
  return null;
}

function asPullRequest(
  repo: Repo,
  title: string,
  files: ReadonlyMap<string, HubFile>,
): { readonly commit: Commit; readonly number: number } {
  const number = [...repo.refs.keys()].filter((ref) => ref.startsWith("refs/pr/")).length + 1;
  return { commit: commit(repo, `refs/pr/${number}`, title, files), number };
}

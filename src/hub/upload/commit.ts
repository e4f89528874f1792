// Files into a repository of the Hub, in one commit, by its own client: large files go to its storage first, each by its hash, so
// that what is there is not sent again; then one request makes the commit. Until that one nothing of it can be seen.

import { createHash } from "node:crypto";
import { type CommitOperation, type CommitOutput, type CommitProgressEvent, commitIter } from "@huggingface/hub";
import { isJsonObject, parseJson } from "../../base/json.ts";
import type { HubSettings } from "../settings.ts";
import { addressOf } from "../web/network.ts";
import { SourceBlob } from "./source-blob.ts";
import { writingFetch } from "./writing-fetch.ts";

export interface UploadFile {
  /** In the repository. */
  readonly path: string;
  readonly blob: SourceBlob | Blob;
}

export interface CommitRequest {
  /** `owner/name` */
  readonly repository: string;
  readonly branch: string;
  readonly files: readonly UploadFile[];
  /** Paths in the repository. */
  readonly deleted: readonly string[];
  readonly title: string;
  readonly description: string;
  /** The commit that this one is made on: where the branch has moved on, the Hub refuses. Null for whatever there is. */
  readonly parent: string | null;
  readonly isPullRequest: boolean;
  /** Whether Xet may be used, where the Hub offers it. */
  readonly xet: boolean;
}

export interface CommitSteps {
  readonly signal: AbortSignal;
  readonly onEvent: (event: CommitProgressEvent) => void;
  /** Filled with what the request for the commit says of each file: whatever becomes of the answer. */
  readonly promised: Map<string, Promised>;
}

export interface Committed {
  readonly commit: string;
  readonly url: string;
  readonly pullRequestUrl: string | null;
}

/** A file by its content: SHA-256 of one that is kept apart, SHA-1 of the git blob of one in the commit itself. */
export type Promised = { readonly sha256: string } | { readonly oid: string };

/** Throws what a file's reading throws; HubApiError; TypeError where no connection held. */
export async function commitFiles(
  settings: HubSettings,
  request: CommitRequest,
  steps: CommitSteps,
): Promise<Committed> {
  const { endpoint } = settings;
  const { repository, branch, files, deleted, title, description, parent, isPullRequest } = request;
  let fail: (error: unknown) => void = () => {};
  const failed = new Promise<never>((_resolve, reject) => {
    fail = reject;
  });
  failed.catch(() => {});
  for (const { blob } of files) if (blob instanceof SourceBlob) blob.onFault = fail;
  const stop = new AbortController();
  const signal = AbortSignal.any([steps.signal, stop.signal]);
  const operations: CommitOperation[] = [
    ...files.map(({ path, blob }): CommitOperation => ({ operation: "addOrUpdate", path, content: blob })),
    ...deleted.map((path): CommitOperation => ({ operation: "delete", path })),
  ];
  const iterator = commitIter({
    repo: { type: "model", name: repository },
    ...{ operations, branch, title, description, isPullRequest },
    ...(parent === null ? {} : { parentCommit: parent }),
    hubUrl: endpoint,
    useXet: request.xet,
    abortSignal: signal,
    fetch: watched(writingFetch(settings, signal), files, steps.promised, fail),
  });
  try {
    for (;;) {
      const step = await Promise.race([iterator.next(), failed]);
      if (step.done === true) return committed(step.value, endpoint, repository);
      steps.onEvent(step.value);
    }
  } catch (error) {
    const faults = files.map(({ blob }) => (blob instanceof SourceBlob ? blob.fault : null));
    const fault = faults.find((each) => each !== null);
    throw fault ?? (steps.signal.aborted ? steps.signal.reason : error);
  } finally {
    stop.abort();
  }
}

/** Throws Error where the answer names none: whether it was made has to be looked up. */
function committed(output: CommitOutput | undefined, endpoint: string, repository: string): Committed {
  const commit = output?.commit.oid;
  if (typeof commit !== "string" || commit === "") throw new Error("an answer that names no commit");
  return {
    commit,
    url: output?.commit.url || `${endpoint}/${repository}/commit/${commit}`,
    pullRequestUrl: output?.pullRequestUrl ?? null,
  };
}

const GRACE_MS = 1000;

/**
 * Notes what the commit is said to hold, of files that are still what was read of them: it is not asked for else. And the client loses some failures: one that meets progress that nobody has taken yet
 * is dropped, and it waits for ever. So each is told here as well, after the client had its time to tell it.
 */
function watched(
  fetcher: typeof fetch,
  files: readonly UploadFile[],
  promised: Map<string, Promised>,
  tell: (error: unknown) => void,
): typeof fetch {
  return async (input, init) => {
    if (typeof init?.body === "string" && /\/api\/models\/[^/]+\/[^/]+\/commit\//.test(addressOf(input))) {
      for (const { blob } of files) if (blob instanceof SourceBlob) blob.check();
      for (const [path, content] of promisesIn(init.body)) promised.set(path, content);
    }
    try {
      return await fetcher(input, init);
    } catch (error) {
      setTimeout(() => tell(error), GRACE_MS).unref();
      throw error;
    }
  };
}

/** Of the lines of JSON that a commit is asked for with. */
function promisesIn(body: string): [string, Promised][] {
  return body.split("\n").flatMap((line): [string, Promised][] => {
    const json = parseJson(line);
    if (!isJsonObject(json) || !isJsonObject(json.value)) return [];
    const { path, oid, content } = json.value;
    if (typeof path !== "string") return [];
    if (json.key === "lfsFile" && typeof oid === "string") return [[path, { sha256: oid }]];
    if (json.key !== "file" || typeof content !== "string") return [];
    const bytes = Buffer.from(content, "base64");
    return [[path, { oid: createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex") }]];
  });
}

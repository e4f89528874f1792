// The files of a push on their way: sent, committed, and looked at in the repository.
import { HubClient } from "../hub/client.ts";
import { type CommitRequest, type Committed, commitFiles, type Promised } from "../hub/upload/commit.ts";
import { answersError, isStorages, isUnsure } from "../hub/upload/refused.ts";
import { SourceBlob } from "../hub/upload/source-blob.ts";
import type { Snapshot } from "../hub/wire.ts";
import type { FileChange } from "./difference.ts";
import { Meter } from "./meter.ts";
import { branchOf, cardPathOf, prefixOf, type Work } from "./work.ts";

export interface Sent {
  readonly commit: { readonly id: string; readonly url: string };
  readonly pullRequest: string | null;
  readonly sentBytes: number;
  readonly thereBytes: number;
  readonly confirmed: boolean;
}

/** Rounds in which addresses of the storage may run out: each begins where the one before it ended. */
const MOST_ROUNDS = 3;

export interface Sending {
  readonly changes: readonly FileChange[];
  /** Text of README.md. */
  readonly card: string;
  /** Of the commit. */
  readonly title: string;
  readonly signal: AbortSignal;
}

/** Throws HubApiError, TypeError, and what reading throws. */
export async function sendAll(work: Work, { changes, card, title, signal }: Sending): Promise<Sent> {
  const { address, options, standing, local } = work;
  const { settings } = options;
  const [prefix, cardPath] = [prefixOf(address), cardPathOf(address)];
  const kindOf = new Map(changes.map(({ path, change }) => [path, change]));
  const meter = new Meter(options.onProgress);
  const files = local.flatMap(({ name, source }) => {
    const path = prefix + name;
    const change = kindOf.get(path);
    if (path === cardPath || (change !== "added" && change !== "replaced")) return [];
    return [{ path, blob: SourceBlob.of(source, meter.of(path, source.byteLength)) }];
  });
  const isCardNew = kindOf.get(cardPath) !== "same";
  const request: CommitRequest = {
    repository: address.repository,
    branch: branchOf(address),
    files: isCardNew ? [...files, { path: cardPath, blob: new Blob([card]) }] : files,
    deleted: changes.filter(({ change }) => change === "deleted").map(({ path }) => path),
    title,
    description: "",
    parent: typeof standing === "string" ? null : standing.commit,
    isPullRequest: options.pullRequest ?? false,
    xet: settings.usesXet,
  };
  const promised = new Map<string, Promised>();
  const committed = await inRounds(work, request, promised, meter, signal);
  const snapshot = await new HubClient(settings).snapshot({ ...address, revision: committed.commit }, work.shown);
  const confirmed = holds(snapshot, request, promised);
  return {
    commit: { id: committed.commit, url: committed.url },
    pullRequest: committed.pullRequestUrl,
    ...meter.sums(promised),
    confirmed,
  };
}

async function inRounds(
  work: Work,
  request: CommitRequest,
  promised: Map<string, Promised>,
  meter: Meter,
  signal: AbortSignal,
): Promise<Committed> {
  const { settings } = work.options;
  for (let round = 1; ; round += 1) {
    try {
      return await commitFiles(settings, request, { signal, onEvent: (event) => meter.see(event), promised });
    } catch (error) {
      if (isStorages(error, settings) && round < MOST_ROUNDS) continue;
      const there = isUnsure(error) && !request.isPullRequest ? await foundAfter(work, request, promised) : null;
      if (there !== null) return there;
      throw answersError(error, work.shown, settings, signal);
    }
  }
}

/** The commit whose answer was lost, where the branch has what it was to hold; null where it has not. */
async function foundAfter(
  { address, options: { settings }, shown }: Work,
  request: CommitRequest,
  promised: ReadonlyMap<string, Promised>,
): Promise<Committed | null> {
  if (promised.size === 0) return null;
  const snapshot = await new HubClient(settings).snapshot(address, shown).catch(() => null);
  if (snapshot === null || snapshot.commit === request.parent || !holds(snapshot, request, promised)) return null;
  const { commit } = snapshot;
  return { commit, url: `${settings.endpoint}/${request.repository}/commit/${commit}`, pullRequestUrl: null };
}

/** Whether a repository has each file by the hash that was promised, and nothing of what was to go. */
const holds = ({ files }: Snapshot, { deleted }: CommitRequest, promised: ReadonlyMap<string, Promised>): boolean =>
  [...promised].every(([path, content]) => {
    const file = files.get(path);
    return "sha256" in content ? file?.sha256 === content.sha256 : file?.oid === content.oid;
  }) && deleted.every((path) => !files.has(path));

// The cache that the Hub's Python client keeps: `models--owner--name` with refs, snapshots and the blobs that they link to.
// It is read, never written.
import { type Dirent, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { EnvironmentError } from "../base/errors.ts";
import { isAbsence } from "../formats/io/file-faults.ts";
import type { HubAddress } from "./address.ts";
import type { HubSettings } from "./settings.ts";
import type { Snapshot, SnapshotFile } from "./wire.ts";

type Repository = Pick<HubAddress, "type" | "repository">;

const COMMIT = /^[0-9a-f]{40}$/;

const folderOf = (cache: string, { type, repository }: Repository): string =>
  join(cache, [`${type}s`, ...repository.split("/")].join("--"));

/** Where the cache has a file of this content; null where it has not. */
export function cachedFile({ cache }: HubSettings, snapshot: Snapshot, path: string): string | null {
  const place = join(folderOf(cache, snapshot), "snapshots", snapshot.commit, path);
  const stats = orNull(() => statSync(place));
  return stats?.isFile() === true && stats.size === snapshot.files.get(path)?.size ? place : null;
}

/** The commit that a revision was at when the cache last heard of it; null where it never did. */
export function cachedCommit({ cache }: HubSettings, { revision, ...repository }: HubAddress): string | null {
  const name = revision ?? "main";
  const home = folderOf(cache, repository);
  const commit = COMMIT.test(name) ? name : orNull(() => readFileSync(join(home, "refs", name), "utf8").trim());
  return commit !== null && orNull(() => statSync(join(home, "snapshots", commit)).isDirectory()) === true
    ? commit
    : null;
}

/** What the cache has of a repository. Throws EnvironmentError HUB_OFFLINE where that is nothing. */
export function cachedSnapshot(settings: HubSettings, address: HubAddress, shown: string): Snapshot {
  const { type, repository, revision } = address;
  const commit = cachedCommit(settings, address);
  if (commit === null) {
    const name = `${repository}${revision === null ? "" : ` at ${revision}`}`;
    throw new EnvironmentError("HUB_OFFLINE", `${shown}: ${settings.offline} is set, and the cache has no ${name}`, {
      file: shown,
      expected: folderOf(settings.cache, address),
      help: `unset ${settings.offline}, or fetch it where there is a network: hf download ${repository}`,
    });
  }
  const root = join(folderOf(settings.cache, address), "snapshots", commit);
  const files = new Map<string, SnapshotFile>();
  for (const path of filesBelow(root, "")) files.set(path, fileAt(join(root, path)));
  return { type, repository, revision, commit, files };
}

function* filesBelow(root: string, folder: string): Generator<string> {
  const entries: Dirent[] = readdirSync(join(root, folder), { withFileTypes: true });
  for (const entry of entries) {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) yield* filesBelow(root, path);
    else if (orNull(() => statSync(join(root, path)).isFile()) === true) yield path;
  }
}

/** A blob's name is the hash of its content. */
function fileAt(place: string): SnapshotFile {
  const blob = basename(orNull(() => readlinkSync(place)) ?? "");
  return {
    size: statSync(place).size,
    sha256: /^[0-9a-f]{64}$/.test(blob) ? blob : null,
    oid: COMMIT.test(blob) ? blob : null,
    xetHash: null,
  };
}

/** Null where nothing is. Throws what else the system says. */
function orNull<T>(call: () => T): T | null {
  try {
    return call();
  } catch (cause) {
    if (isAbsence(cause) || (cause instanceof Error && "code" in cause && cause.code === "EINVAL")) return null;
    throw cause;
  }
}

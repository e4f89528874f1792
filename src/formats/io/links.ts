// Where links of a folder on disk lead.
import { realpathSync } from "node:fs";
import { join, relative, resolve, sep } from "node:path";
import { InputError } from "../../base/errors.ts";
import { isAbsence } from "./file-faults.ts";
import type { FileIn } from "./folder.ts";

/** The cache of the Hub keeps a model's files in blobs, named by their SHA-1 or SHA-256. */
const BLOB = /[\\/]models--[^\\/]+[\\/]blobs[\\/](?:[0-9a-f]{40}|[0-9a-f]{64})$/;

/**
 * A file that is copied must not be one from elsewhere: a folder that somebody made could take any file of the user's into
 * what is published. Throws InputError LINK_OUTSIDE; what is no file at all shows when it is opened.
 */
export function refuseOutside({ folder, name }: FileIn): void {
  if (folder.kind(name) !== "file") return;
  const [home, file] = [folder.diskPathOf(), folder.diskPathOf(name)];
  if (home === null || file === null) return;
  const [from, end] = [realpath(home), realpath(file)];
  if (from === null || end === null || BLOB.test(end)) return;
  if ([from, ...blobsOf(from)].some((place) => isWithin(end, place))) return;
  throw new InputError("LINK_OUTSIDE", `${file}: is a link to ${end}, outside its folder`, {
    file,
    expected: "a file of the folder, or a link to one, or to a blob in the cache of the Hub",
    found: end,
    help: `if it is meant to go along, put a copy in its place: cp --remove-destination ${end} ${file}; else remove the link`,
  });
}

/** Where a cache has them: `models--x--y/snapshots/<commit>`, or a folder in it, beside `models--x--y/blobs`. */
const blobsOf = (snapshot: string): string[] => ["..", "../..", "../../.."].map((up) => join(snapshot, up, "blobs"));

function isWithin(path: string, folder: string): boolean {
  const way = relative(folder, path);
  return way !== ".." && !way.startsWith(`..${sep}`) && resolve(way) !== way;
}

function realpath(path: string): string | null {
  try {
    return realpathSync.native(path);
  } catch (cause) {
    if (isAbsence(cause)) return null;
    throw cause;
  }
}

// What a push would do to a repository: told before it is done.
import { ADAPTER_FILE, isDocument, RECORD_NAME } from "../formats/file-names.ts";
import { SCALES_NAME } from "../formats/safetensors/locate.ts";
import type { Snapshot, SnapshotFile } from "../hub/wire.ts";

export type Change = "added" | "replaced" | "deleted" | "same" | "kept" | "section";

export interface FileChange {
  /** Its path in the repository. */
  readonly path: string;
  /**
   * `section`: of the model card, ours alone. `kept`: in the repository alone, and it stays. `deleted`: weights that are in
   * the repository alone: whoever loads the new ones might get these.
   */
  readonly change: Change;
  /** Here; null of a file that is only there. */
  readonly bytes: number | null;
  /** There; null of one that is new. */
  readonly remoteBytes: number | null;
}

/** A file as it would be there. */
export interface PushedFile {
  readonly path: string;
  readonly bytes: number;
  /** Whether the repository's file has these bytes. */
  isSame(remote: SnapshotFile): Promise<boolean>;
}

/** @param folder path of the folder in the repository, "" for its root, else ending in a slash: what is outside is not looked at */
export async function differencesOf(
  files: readonly PushedFile[],
  remote: Snapshot["files"],
  folder: string,
): Promise<FileChange[]> {
  const there = new Map([...remote].filter(([path]) => path.startsWith(folder)));
  const changes: FileChange[] = [];
  for (const file of files) {
    const { path, bytes } = file;
    const other = there.get(path);
    there.delete(path);
    const change = other === undefined ? "added" : (await file.isSame(other)) ? "same" : "replaced";
    changes.push({ path, change, bytes, remoteBytes: other?.size ?? null });
  }
  for (const [path, { size }] of there) {
    const change = isOfModel(path.slice(folder.length)) ? "deleted" : "kept";
    changes.push({ path, change, bytes: null, remoteBytes: size });
  }
  return changes.toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

/** By the names under which loaders look for weights: files of another set would be taken for these. */
const WEIGHTS: readonly RegExp[] = [
  /^(?:model|consolidated)(?:[.-][^/]*)?\.safetensors$/,
  /^model\.safetensors\.index(?:\.[^/]+)?\.json$/,
  /^pytorch_model(?:[.-][^/]*)?\.bin(?:\.index(?:\.[^/]+)?\.json)?$/,
  /^consolidated(?:\.\d+)?\.pth$/,
  /^[^/]+\.distcp$/,
  /^(?:__\d+)?\.metadata$/,
];

const isOfModel = (name: string): boolean =>
  name === RECORD_NAME ||
  name === SCALES_NAME ||
  (!ADAPTER_FILE.test(name) && WEIGHTS.some((weights) => weights.test(name)));

/** What `--force` is asked for: content of the repository that goes, or stands beside what is pushed. */
export const contested = (changes: readonly FileChange[], folder: string): readonly FileChange[] =>
  changes.filter(({ path, change }) => {
    switch (change) {
      case "replaced":
      case "deleted":
        return true;
      case "kept":
        // A repository is often made with a card and a licence, before there are weights.
        return !isDocument(path.slice(folder.length));
      case "added":
      case "same":
      case "section":
        return false;
      default:
        throw change satisfies never;
    }
  });

// What of a folder goes to the Hub: all that is visible in it, and hidden files that the checkpoint itself is read from.
import { InputError } from "../base/errors.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import type { Folder, SourceFile } from "../formats/io/folder.ts";
import { refuseOutside } from "../formats/io/links.ts";

export interface LocalFile {
  /** Its path in the folder. */
  readonly name: string;
  readonly source: SourceFile;
}

export interface LocalFiles {
  /** In the order of their names. Whoever asked for them closes them. */
  readonly files: readonly LocalFile[];
  /** Names of what stays here; folders end in a slash. */
  readonly leftOut: readonly string[];
}

/** The repository keeps its own: the Hub writes into it which files are large. */
export const REPOSITORYS_OWN = ".gitattributes";
/** What programs leave behind, and nobody wants to publish. */
const LITTER = /^(?:__pycache__|Thumbs\.db)$|\.(?:tmp|part|partial|incomplete|crdownload|pyc|lock)$/i;
/** A folder of a model has some; a link may lead round in a circle. */
const MOST_DEPTH = 8;

/** Throws InputError LINK_OUTSIDE, PUSH_TOO_DEEP and what opening throws. */
export function localFiles({ folder, files: weights }: Pick<Checkpoint, "folder" | "files">): LocalFiles {
  const files: LocalFile[] = [];
  const leftOut: string[] = [];
  const visit = (place: Folder, prefix: string, depth: number): void => {
    if (depth > MOST_DEPTH) throw tooDeep(place);
    for (const child of place.list()) {
      const name = prefix + child;
      const kind = place.kind(child);
      const stays =
        (child.startsWith(".") && !weights.includes(name)) || LITTER.test(child) || child === REPOSITORYS_OWN;
      if (stays || kind === "other" || kind === null) leftOut.push(kind === "folder" ? `${name}/` : name);
      else if (kind === "folder") visit(place.folder(child), `${name}/`, depth + 1);
      else {
        refuseOutside({ folder, name });
        files.push({ name, source: folder.open(name) });
      }
    }
  };
  try {
    visit(folder, "", 0);
  } catch (error) {
    closeAll(files);
    throw error;
  }
  return { files: files.toSorted((a, b) => (a.name < b.name ? -1 : 1)), leftOut };
}

export function closeAll(files: readonly LocalFile[]): void {
  for (const { source } of files) source.close();
}

const tooDeep = ({ path }: Folder): InputError =>
  new InputError("PUSH_TOO_DEEP", `${path}: folders within folders`, {
    file: path,
    expected: `at most ${MOST_DEPTH} of them`,
    found: "one more, or a link that leads round in a circle",
    help: "push the folder of one checkpoint",
  });

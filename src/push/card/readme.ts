// Which README.md a repository gets: the one that it has, or the folder's, with our section in it.
import { hasSection, type NewCard, newCard, withoutSection, withSection } from "./section.ts";

export interface Readmes {
  /** The folder's; null where it has none. */
  readonly local: string | null;
  /** The repository's; null where it has none. */
  readonly remote: string | null;
}

export interface Chosen {
  /** Without our section of now; null where there is none yet. */
  readonly base: string | null;
  /** What becomes of the text that is not ours: `section` where it stays as it is. */
  readonly change: "added" | "replaced" | "section";
  readonly notes: readonly string[];
}

/**
 * The repository's own stays, whatever came along with the weights: people edit it there. The folder's goes there where it was
 * made for this, with `--card`, or where there is none.
 * Throws InputError CARD_MARKERS.
 */
export function chosenReadme({ local, remote }: Readmes): Chosen {
  if (remote === null) return { base: local, change: "added", notes: [] };
  const own = withoutSection(remote, "README.md of the repository");
  const isSame = local === null || withoutSection(local, "README.md") === own;
  if (isSame) return { base: remote, change: "section", notes: [] };
  if (hasSection(local, "README.md")) return { base: local, change: "replaced", notes: [] };
  const notes = [
    "README.md of the repository stays, with our section in it; to put the folder's there, write the section into it first: push FOLDER --card",
  ];
  return { base: remote, change: "section", notes };
}

/** @param fresh for a card where there is none */
export const readmeWith = ({ base }: Chosen, section: string, fresh: NewCard): string =>
  withSection(base ?? newCard(fresh), section, "README.md");

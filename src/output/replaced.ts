import { firstNames } from "./safe-target.ts";
import type { Committed } from "./staging.ts";

/** What a target replaced, in words. */
export function replacedNotes({ stood, left }: Committed): string[] {
  const rest = left === null ? [] : [`could not be deleted of what was replaced: ${left}`];
  if (stood?.kind === "link") return ["replaced: a link; what it led to is as it was", ...rest];
  if (stood === null || stood.contents === null) return rest;
  const { files, bytes } = stood.contents;
  const count = files.length === 1 ? "1 file" : `${files.length} files`;
  return [`replaced: ${firstNames(files)} (${count}, ${(bytes / 1e6).toFixed(1)} MB)`, ...rest];
}

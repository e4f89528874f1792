import type { Checkpoint } from "../formats/checkpoint.ts";

/** A sentence for the notes of a report; none where all that was read has been checked. */
export function notCheckedNote(checkpoint: Checkpoint): string[] {
  const text = checkpoint.notChecked?.() ?? null;
  return text === null ? [] : [`${checkpoint.path}: not checked: ${text}`];
}

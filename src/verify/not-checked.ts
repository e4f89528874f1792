import type { Check } from "../base/check.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";

/** A sentence for the notes of a report; none where all that was read has been checked. */
export function notCheckedNote(checkpoint: Checkpoint): string[] {
  const text = checkpoint.notChecked?.() ?? null;
  return text === null ? [] : [`${checkpoint.path}: not checked: ${text}`];
}

/** None where the container has no checksums of its own, or all were right. */
export function checksumChecks(checkpoint: Checkpoint, of = "the source"): (Check & { readonly failed: number })[] {
  const detail = checkpoint.notChecked?.() ?? null;
  return detail === null ? [] : [{ name: `CRC-32 of ${of}`, status: "not checked", detail, failed: 0 }];
}

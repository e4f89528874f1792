// What a config makes a model compute, in one spelling: two configs that compute the same are written the same.
import { createHash } from "node:crypto";
import type { Family, MathFacts } from "./family.ts";

/** Says how long an input may be, not what is computed. */
const NOT_COMPUTED = new Set(["maxPositions"]);

/** Sizes of sliding windows, 0 or absent where there is none. */
const WINDOWS = new Set(["window", "windows", "sliding_window"]);

/**
 * The fields of `math()` that have an effect, each as JSON.
 * @param reach positions that an input may have: a window that none of them reaches beyond is none
 */
export function mathematics(family: Family, reach = family.maxPositions): ReadonlyMap<string, string> {
  const fields = Object.entries(family.math()).filter(([field]) => !NOT_COMPUTED.has(field));
  const texts = fields.map(([field, value]) => [field, effective(field, value, reach)] as const);
  return new Map(texts.filter(([field, text]) => !(WINDOWS.has(field) && text === "0")));
}

function effective(field: string, value: MathFacts[string], reach: number): string {
  if (!WINDOWS.has(field)) return JSON.stringify(value);
  const size = (window: number) => (window >= reach ? 0 : window);
  if (typeof value === "number") return JSON.stringify(size(value));
  return JSON.stringify(typeof value === "object" ? value.map(size) : value);
}

/** Whether the head is the embedding. The tensors tell it: a model that is not tied has a head of its own. */
const TIES = new Set(["tied", "tie_word_embeddings"]);

/**
 * SHA-256 of the family's name and its fields but for ties, each as `field<TAB>JSON<LF>`, in the order of code units: equal for
 * configs that compute the same, whatever file, spelling or layout they come from.
 */
export const mathematicsHash = (family: Family): string => hashOfFields(family.family, mathematics(family));

/** The same of fields that were written down. */
export function hashOfFields(family: string, texts: ReadonlyMap<string, string>): string {
  const hash = createHash("sha256").update(`family\t${JSON.stringify(family)}\n`);
  const fields = [...texts].filter(([field]) => !TIES.has(field)).toSorted(([a], [b]) => (a < b ? -1 : 1));
  for (const [field, text] of fields) hash.update(`${field}\t${text}\n`);
  return hash.digest("hex");
}

// Names as a report shows them.
import { groupedBy } from "../../groups.ts";

/** A token's text where a tokenizer told it, and its id. */
export const tokenName = (id: number, texts: ReadonlyMap<number, string>): string =>
  texts.has(id) ? `${JSON.stringify(texts.get(id))} (${id})` : String(id);

/** Tensors whose keys differ in numbers alone, together: `layers.{0–3}.k_proj.weight (4)`. */
export const tensorsText = (keys: readonly string[]): string =>
  someOf(
    groupedBy(
      keys,
      (key) => key,
      () => "",
    ).map(({ name, members }) => (members.length > 1 ? `${name} (${members.length} tensors)` : name)),
    "kinds of tensors",
  );

const SHOWN = 4;

/** The first of a list that may have hundreds: --json has them all. */
export const someOf = (names: readonly string[], what = "tensors"): string =>
  names.length <= SHOWN + 1
    ? names.join(", ")
    : `${names.slice(0, SHOWN).join(", ")} and ${names.length - SHOWN} more ${what}`;

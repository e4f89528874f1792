// Names as a report shows them.

/** A token's text where a tokenizer told it, and its id. */
export const tokenName = (id: number, texts: ReadonlyMap<number, string>): string =>
  texts.has(id) ? `${JSON.stringify(texts.get(id))} (${id})` : String(id);

const SHOWN = 4;

/** The first of a list that may have hundreds: --json has them all. */
export const someOf = (names: readonly string[], what = "tensors"): string =>
  names.length <= SHOWN + 1
    ? names.join(", ")
    : `${names.slice(0, SHOWN).join(", ")} and ${names.length - SHOWN} more ${what}`;

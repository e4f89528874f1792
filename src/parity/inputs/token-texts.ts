import type { PathOrLocation } from "../../formats/io/disk-folder.ts";
import type { NextTokens } from "../next-tokens.ts";
import { openTokenizer } from "./tokenizer.ts";

/**
 * Text of the tokens that a report names, by id; none where the tokenizer cannot tell.
 * @param more tokens that it names, e.g. those of `positions.worst`
 */
export async function tokenTexts(
  next: NextTokens,
  tokenizer: PathOrLocation,
  more: readonly { readonly id: number }[] = [],
): Promise<ReadonlyMap<number, string>> {
  const ids = [...next.a, ...next.b, ...more].map(({ id }) => id);
  try {
    const opened = await openTokenizer(tokenizer);
    return new Map(ids.map((id) => [id, opened.tokenizer.decode([id])]));
  } catch {
    return new Map();
  }
}

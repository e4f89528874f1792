// What the tables of both sides say of a difference: an alias, or a tensor that neither side has.
import { compareTensors } from "../views/compare.ts";
import type { Difference } from "../views/difference.ts";
import { castLike } from "../views/rounding.ts";
import { renamedSource } from "../views/tensor-source.ts";
import type { DiffView } from "./diff-views.ts";

type Told = { readonly differences: Difference[]; readonly notes: string[] };

/**
 * A tensor that one side has and the other repeats by its config is compared with what it repeats.
 * @param found what a comparison under HF keys gave
 */
export function* withoutAliases(a: DiffView, b: DiffView, found: readonly Difference[]): Generator<number, Told, void> {
  const told: Told = { differences: [], notes: shippedNotes(a, b) };
  for (const difference of found) {
    const { key, kind } = difference;
    const [has, lacks, names] = kind === "missing" ? ([a, b, "ab"] as const) : ([b, a, "ba"] as const);
    const of = kind === "missing" || kind === "extra" ? lacks.aliases.get(key) : undefined;
    if (of === undefined || !lacks.source.tensors.has(of)) {
      told.differences.push(difference);
      continue;
    }
    const repeated = renamedSource(lacks.source, new Map([[key, of]]));
    const own = castLike(has.source, repeated);
    const values = yield* compareTensors(own, repeated, [own.tensors.get(key)!, repeated.tensors.get(key)!]);
    const words = `"${key}" of ${names[0]} is "${of}" in ${names[1]}, whose config ties them`;
    if (values.length === 0) told.notes.push(`${words}: they are equal`);
    else told.differences.push({ key, kind: "values", detail: `${words}, and they differ` });
  }
  return told;
}

/** Aliases that one side alone ships, of one layout: across layouts that is usual. */
function shippedNotes(a: DiffView, b: DiffView): string[] {
  if (a.side !== b.side) return [];
  return [[a, b, "a"] as const, [b, a, "b"] as const].flatMap(([view, other, name]) => {
    const [first, ...rest] = view.shipped.filter((alias) => !other.shipped.includes(alias));
    if (first === undefined) return [];
    const more = rest.length === 0 ? "an alias" : `and ${rest.length} more: aliases`;
    return [`"${first}" in ${name} alone, ${more} of what is compared`];
  });
}

/** What the configs name and neither side has: a comparison of tensors does not see it. */
export function lackedByBoth(a: DiffView, b: DiffView, found: readonly Difference[]): Difference[] {
  const told = (differences: readonly Difference[]) =>
    differences.map((each) => ({ ...each, detail: `neither in a nor in b: ${each.detail}` }));
  if (a.side !== b.side) {
    const [hf, other] = a.side === "hf" ? [a, b] : [b, a];
    return told(hf.missing.filter(({ key }) => !other.source.tensors.has(key)));
  }
  const theirs = new Set(b.missing.map(({ key }) => key));
  const both = a.missing.filter(({ key }) => theirs.has(key));
  if (both.length > 0 || a.about.layout === b.about.layout) return told(both);
  // Two native layouts name a tensor in two ways: what one of them lacks shows, what both lack does not.
  const shows = found.some(({ kind }) => kind === "missing" || kind === "extra");
  return b.missing.length > 0 && !shows ? told(a.missing) : [];
}

export function lackingNotes(lacking: readonly Difference[]): string[] {
  const [first] = lacking;
  if (first === undefined) return [];
  const count = lacking.length === 1 ? "a tensor" : `${lacking.length} tensors`;
  return [`NOT a whole model: the config names ${count} that neither side has, such as "${first.key}"`];
}

// Tables with other rules for files of another writer.

import { type Compiled, compileRules } from "./compile.ts";
import type { Axes } from "./dims/axes.ts";
import type { Source } from "./request.ts";
import { findSlot } from "./resolve.ts";
import type { Rule, Side } from "./rule.ts";

/** The rules of one order, expanded. */
export interface Variant {
  /** "" is the canonical one. */
  readonly order: string;
  readonly rules: readonly Rule[];
  readonly compiled: Compiled;
}

const orderOf = (rule: Rule): string | undefined => (rule.kind === "map" ? rule.order : undefined);

/** The canonical one first. */
export function variantsOf(rules: readonly Rule[], axes: Axes): readonly [Variant, ...Variant[]] {
  const variant = (order: string): Variant => {
    const own = rules.filter((rule) => (orderOf(rule) ?? order) === order);
    return { order, rules: own, compiled: compileRules(own, axes) };
  };
  const others = new Set(rules.map(orderOf).filter((order) => order !== undefined && order !== ""));
  return [variant(""), ...[...others].map((order) => variant(`${order}`))];
}

/** The one that knows most of the keys; the canonical one where that decides nothing. */
export function variantFor([first, ...others]: readonly [Variant, ...Variant[]], side: Side, source: Source): Variant {
  if (others.length === 0) return first;
  const unknown = ({ compiled }: Variant) =>
    [...source.keys()].filter((key) => findSlot(compiled[side], key) === undefined).length;
  return others.reduce((best, other) => (unknown(other) < unknown(best) ? other : best), first);
}

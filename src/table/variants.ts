// Tables with other rules for files of another writer. Files may mix both: at each index one group of rules holds.

import { type Compiled, compileRules, type MapSlot, type Slot } from "./compile.ts";
import type { Axes } from "./dims/axes.ts";
import { axesOf, withAxis } from "./dims/key-pattern.ts";
import type { Source } from "./request.ts";
import { findSlot } from "./resolve.ts";
import type { MapRule, Rule, Side, Term } from "./rule.ts";

/** The rules that hold for one checkpoint, expanded. */
export interface Variant {
  /** "" is the canonical one. */
  readonly order: string;
  /** HF keys of tensors in this order, one a group and index, where others are in the canonical one; empty where all are. */
  readonly at: readonly string[];
  readonly rules: readonly Rule[];
  readonly axes: Axes;
  readonly compiled: Compiled;
}

/** Positions of a group's axis; those of a group that has none are [0]. */
type Positions = ReadonlyMap<string, ReadonlySet<number>>;

/** Tensors of a group at one position: how many an order has, and how many of them are there. */
interface Tally {
  present: number;
  all: number;
  /** Of its first tensor. */
  readonly key: string;
}

const orderOf = (rule: Rule): string | undefined => (rule.kind === "map" ? rule.order : undefined);

/** A tensor of which there are several orders. */
const isGrouped = (slot: Slot | undefined, order: string): slot is MapSlot =>
  slot?.kind === "map" && slot.map.rule.order === order;

/** Every variant of a table, compiled when it is first needed. */
export class Variants {
  readonly canonical: Variant;
  readonly #rules: readonly Rule[];
  readonly #axes: Axes;
  /** First axis that stands in every key of a group. */
  readonly #axisOf = new Map<string, string | undefined>();
  readonly #orders: readonly string[];
  readonly #made = new Map<string, Variant>();

  constructor(rules: readonly Rule[], axes: Axes) {
    this.#rules = rules;
    this.#axes = axes;
    this.#orders = [...new Set(rules.flatMap((rule) => orderOf(rule) || []))];
    for (const rule of rules) {
      if (rule.kind !== "map" || rule.group === undefined || this.#axisOf.has(rule.group)) continue;
      const keys = rules.flatMap((other) => (other.kind === "map" && other.group === rule.group ? keysOf(other) : []));
      this.#axisOf.set(
        rule.group,
        axesOf(`${keys[0]}`).find((axis) => keys.every((key) => axesOf(key).includes(axis))),
      );
    }
    this.canonical = this.#whole("");
  }

  /** The one that a checkpoint's keys tell of; the canonical one where they decide nothing. */
  of(side: Side, source: Source): Variant {
    const foreign = [...source.keys()].filter((key) => findSlot(this.canonical.compiled[side], key) === undefined);
    if (foreign.length === 0) return this.canonical;
    const known = (order: string) => {
      const own = this.#whole(order).compiled[side];
      return foreign.filter((key) => isGrouped(findSlot(own, key), order)).length;
    };
    const [best] = this.#orders.map((order) => ({ order, known: known(order) })).toSorted((a, b) => b.known - a.known);
    if (best === undefined || best.known === 0) return this.canonical;
    return this.#mixed(best.order, this.#positionsIn(best.order, side, source));
  }

  /** That of a record; undefined where no rule has the order. */
  named(order: string, at: readonly string[]): Variant | undefined {
    if (!this.#orders.includes(order)) return undefined;
    const whole = this.#whole(order);
    if (at.length === 0) return whole;
    const positions = new Map<string, Set<number>>();
    for (const key of at) {
      const slot = whole.compiled.hf.byKey.get(key);
      if (!isGrouped(slot, order)) continue;
      const { group = "" } = slot.map.rule;
      positions.set(group, (positions.get(group) ?? new Set()).add(this.#positionOf(slot)));
    }
    return this.#mixed(order, positions);
  }

  /** Whether tensors of other orders than a variant's are known under a key. */
  knowsElsewhere(variant: Variant, side: Side, key: string): boolean {
    return ["", ...this.#orders].some((order) => {
      const slot = order === variant.order ? undefined : findSlot(this.#whole(order).compiled[side], key);
      return slot !== undefined && isGrouped(slot, order);
    });
  }

  #whole(order: string): Variant {
    return this.#make(order, [], () => ({
      rules: this.#rules.filter((rule) => (orderOf(rule) ?? order) === order),
      axes: this.#axes,
    }));
  }

  #make(order: string, at: readonly string[], parts: () => Pick<Variant, "rules" | "axes">): Variant {
    const id = [order, ...at].join("\n");
    let made = this.#made.get(id);
    if (made === undefined) {
      const { rules, axes } = parts();
      made = { order, at, rules, axes, compiled: compileRules(rules, axes) };
      this.#made.set(id, made);
    }
    return made;
  }

  #positionOf({ map: { rule }, term, at }: MapSlot): number {
    const axis = this.#axisOf.get(rule.group ?? "");
    return axis === undefined ? 0 : at[term.key.axes.indexOf(axis)]!;
  }

  /** Where files have the order: the larger share of its tensors is there, or, of none, where most of the group is in it. */
  #positionsIn(order: string, side: Side, source: Source): Positions {
    const [canonical, other] = ["", order].map((each) => this.#tallies(each, side, source));
    const groups = [...other!].map(([group, tallies]) => {
      const shares = [...tallies].map(([position, tally]) => {
        return [position, shareOf(tally) - shareOf(canonical!.get(group)?.get(position))] as const;
      });
      const most = shares.reduce((sum, [, share]) => sum + Math.sign(share), 0) > 0;
      const own = shares.filter(([, share]) => share > 0 || (share === 0 && most)).map(([position]) => position);
      return [group, new Set(own)] as const;
    });
    return new Map(groups);
  }

  #tallies(order: string, side: Side, source: Source): ReadonlyMap<string, Map<number, Tally>> {
    const own = this.#whole(order).compiled[side];
    const there = new Set([...source.keys()].map((key) => findSlot(own, key)));
    const groups = new Map<string, Map<number, Tally>>();
    for (const slot of own.slots) {
      if (!isGrouped(slot, order)) continue;
      const { group = "" } = slot.map.rule;
      const tallies = groups.get(group) ?? new Map<number, Tally>();
      groups.set(group, tallies);
      const position = this.#positionOf(slot);
      const tally = tallies.get(position) ?? { present: 0, all: 0, key: slot.key };
      tallies.set(position, tally);
      tally.all++;
      if (there.has(slot)) tally.present++;
    }
    return groups;
  }

  /** Rules of both orders, each over the positions where it holds. */
  #mixed(order: string, positions: Positions): Variant {
    const groups = this.#tallies(order, "hf", new Map());
    const size = [...groups.values()].reduce((sum, tallies) => sum + tallies.size, 0);
    const at = [...positions].flatMap(([group, own]) =>
      [...own].map((position) => groups.get(group)!.get(position)!.key),
    );
    if (at.length === size) return this.#whole(order);
    if (at.length === 0) return this.canonical;
    return this.#make(order, at, () => this.#split(order, positions));
  }

  #split(order: string, positions: Positions): Pick<Variant, "rules" | "axes"> {
    const axes: Record<string, Axes[string]> = { ...this.#axes };
    const names = new Map<string, string>();
    const over = (axis: string, indices: readonly number[]): string => {
      const id = `${axis} ${indices.join()}`;
      const name = names.get(id) ?? `${axis}_${names.size}`;
      names.set(id, name);
      axes[name] = indices;
      return name;
    };
    const rules = this.#rules.flatMap((rule): readonly Rule[] => {
      if (rule.kind !== "map" || rule.order === undefined) return [rule];
      if (rule.order !== "" && rule.order !== order) return [];
      const { group = "" } = rule;
      const own = positions.get(group) ?? new Set();
      const holds = (position: number) => own.has(position) === (rule.order !== "");
      const axis = this.#axisOf.get(group);
      if (axis === undefined) return holds(0) ? [rule] : [];
      const all = indicesOf(this.#axes, axis);
      const indices = all.filter((_, position) => holds(position));
      return indices.length === 0 ? [] : [overAxis(rule, axis, over(axis, indices))];
    });
    return { rules, axes };
  }
}

const shareOf = (tally: Tally | undefined): number => (tally === undefined ? 0 : tally.present / tally.all);

const keysOf = ({ native, hf }: MapRule): string[] => [...native, ...hf].map(({ key }) => key);

function indicesOf(axes: Axes, axis: string): readonly number[] {
  const size = axes[axis] ?? 0;
  return typeof size === "number" ? Array.from({ length: size }, (_, i) => i) : size;
}

/** The rule over another axis in place of one of its keys'. */
function overAxis(rule: MapRule, axis: string, other: string): MapRule {
  const renamed = ({ key, spellings, ...term }: Term): Term => ({
    ...term,
    key: withAxis(key, axis, other),
    ...(spellings === undefined ? {} : { spellings: spellings.map((text) => withAxis(text, axis, other)) }),
  });
  return { ...rule, native: rule.native.map(renamed), hf: rule.hf.map(renamed) };
}

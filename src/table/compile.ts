// Expands rules for a concrete config and proves that they are a bijection: every key claimed by one rule, the same
// parts and axes on both sides, all sizes known.
import { type Axes, AxisTable } from "./dims/axes.ts";
import { layOut, parseDims, tableError } from "./dims/dims.ts";
import { fillKey, type KeyPattern, parseKey } from "./dims/key-pattern.ts";
import { checkedPassThrough, checkedRefusal } from "./pass-through.ts";
import type { DropRule, MapRule, PassThroughRule, RefuseRule, Rule, Side, Term, TieRule } from "./rule.ts";
import { type CompiledTerm, compileTerm, proveSameParts } from "./terms.ts";

export interface CompiledMap {
  readonly rule: MapRule;
  /** Axes in the keys of all its tensors. */
  readonly outer: readonly string[];
  readonly native: readonly CompiledTerm[];
  readonly hf: readonly CompiledTerm[];
}

/** A tensor that a side can have. `at` are the positions of the axes of its key. */
export type Slot = MapSlot | TieSlot | DropSlot;
export interface MapSlot {
  readonly kind: "map";
  readonly key: string;
  /** Other keys that it is accepted under. */
  readonly spellings: readonly string[];
  readonly map: CompiledMap;
  readonly term: CompiledTerm;
  readonly at: readonly number[];
  /** The same object for all tensors of a rule at one index of its outer axes. */
  readonly instance: object;
}
export interface TieSlot {
  readonly kind: "tie";
  readonly key: string;
  /** Other keys that it is accepted under. */
  readonly spellings: readonly string[];
  readonly rule: TieRule;
  readonly of: string;
  /** Whether it has the indices of its original: then it is the only copy, and files may have it alone. */
  readonly single: boolean;
}
export interface DropSlot {
  readonly kind: "drop";
  readonly key: string;
  readonly rule: DropRule;
  /** null for a dimension of any size. */
  readonly shape: readonly (number | null)[];
}

export interface CompiledSide {
  /** In table order; consecutive rules over one axis follow each other at each index, as in a module tree. */
  readonly slots: readonly Slot[];
  /** By every accepted spelling. */
  readonly byKey: ReadonlyMap<string, Slot>;
  readonly prefixes: readonly string[];
}

export interface Compiled {
  readonly axes: AxisTable;
  readonly native: CompiledSide;
  readonly hf: CompiledSide;
  readonly passThrough: readonly PassThroughRule[];
  readonly refused: readonly RefuseRule[];
}

/** Throws InputError TABLE_INVALID, naming the rule at fault. */
export function compileRules(rules: readonly Rule[], axes: Axes): Compiled {
  const table = new AxisTable(axes);
  const sides = { native: new SideBuilder(table, "native"), hf: new SideBuilder(table, "hf") };
  const passThrough: PassThroughRule[] = [];
  const refused: RefuseRule[] = [];
  for (const rule of rules) {
    switch (rule.kind) {
      case "map":
        expandMap(rule, table, sides);
        break;
      case "tie":
        sides[rule.side].expandTie(rule);
        break;
      case "drop":
        sides[rule.side].expandDrop(rule);
        break;
      case "prefix":
        sides[rule.side].prefixes.push(rule.prefix);
        break;
      case "passThrough":
        passThrough.push(checkedPassThrough(rule));
        break;
      case "refuse":
        refused.push(checkedRefusal(rule));
        break;
      default:
        throw tableError(`unknown rule ${JSON.stringify(rule satisfies never)}`);
    }
  }
  return { axes: table, native: sides.native.finish(), hf: sides.hf.finish(), passThrough, refused };
}

/** A side of a rule waiting to be expanded over axes of its keys; `emit` adds the slots of one position. */
interface Expansion {
  readonly axes: readonly string[];
  readonly emit: (at: Record<string, number>) => void;
}

function runByModule(expansions: readonly Expansion[], table: AxisTable): void {
  for (let begin = 0; begin < expansions.length; ) {
    const first = expansions[begin]!.axes[0];
    let end = begin + 1;
    while (first !== undefined && end < expansions.length && expansions[end]!.axes[0] === first) end++;
    const group = expansions.slice(begin, end);
    const at: Record<string, number> = {};
    table.walk(first === undefined ? [] : [first], at, () => {
      for (const { axes, emit } of group) table.walk(axes.slice(1), at, () => emit(at));
    });
    begin = end;
  }
}

/** One for all that have none: a large model has tens of thousands of tensors. */
const NONE: readonly string[] = [];

class SideBuilder {
  readonly expansions: Expansion[] = [];
  readonly slots: Slot[] = [];
  readonly byKey = new Map<string, Slot>();
  readonly prefixes: string[] = [];

  constructor(
    private readonly table: AxisTable,
    private readonly side: Side,
  ) {}

  keyAt(pattern: KeyPattern, at: Readonly<Record<string, number>>): string {
    return fillKey(
      pattern,
      pattern.axes.map((axis) => this.table.index(axis, at[axis]!)),
    );
  }

  keysAt(patterns: readonly KeyPattern[], at: Readonly<Record<string, number>>): readonly string[] {
    return patterns.length === 0 ? NONE : patterns.map((pattern) => this.keyAt(pattern, at));
  }

  add(slot: Slot): void {
    this.slots.push(slot);
    this.claim(slot.key, slot);
    if (slot.kind !== "drop") for (const key of slot.spellings) this.claim(key, slot);
  }

  private claim(key: string, slot: Slot): void {
    const other = this.byKey.get(key);
    if (other !== undefined)
      throw tableError(`${this.side} key "${key}" is claimed by two rules: ${ruleName(other)} and ${ruleName(slot)}`);
    this.byKey.set(key, slot);
  }

  expandTie(rule: TieRule): void {
    const alias = parseKey(rule.alias, this.table.size);
    const of = parseKey(rule.of, this.table.size);
    const stray = of.axes.find((axis) => !alias.axes.includes(axis));
    if (stray !== undefined)
      throw tableError(`tie "${rule.alias}": axis "${stray}" of "${rule.of}" is not in the alias`);
    const others = (rule.spellings ?? []).map((text) => alternative(text, rule.alias, this.table));
    const single = of.axes.length === alias.axes.length;
    const emit = (at: Record<string, number>) => {
      const spellings = this.keysAt(others, at);
      this.add({ kind: "tie", key: this.keyAt(alias, at), spellings, rule, of: this.keyAt(of, at), single });
    };
    this.expansions.push({ axes: alias.axes, emit });
  }

  expandDrop(rule: DropRule): void {
    const key = parseKey(rule.key, this.table.size);
    const shape = parseDims(rule.dims).dims.map((factor) =>
      "axis" in factor && factor.axis === "?"
        ? null
        : layOut({ label: null, dims: [factor] }, this.table.size).shape[0]!,
    );
    if (rule.recreate !== undefined && shape.includes(null))
      throw tableError(`drop "${rule.key}": a tensor of unknown size cannot be re-created`);
    const emit = (at: Record<string, number>) => this.add({ kind: "drop", key: this.keyAt(key, at), rule, shape });
    this.expansions.push({ axes: key.axes, emit });
  }

  finish(): CompiledSide {
    runByModule(this.expansions, this.table);
    for (const slot of this.slots) {
      if (slot.kind === "tie" && this.byKey.get(slot.of)?.kind !== "map")
        throw tableError(`tie "${slot.key}": no rule maps "${slot.of}", which it should equal`);
    }
    return { slots: this.slots, byKey: this.byKey, prefixes: this.prefixes };
  }
}

const ruleName = (slot: Slot): string =>
  slot.kind === "map" ? `${slot.map.rule.op} "${slot.term.key.text}"` : `${slot.kind} "${slot.key}"`;

function expandMap(rule: MapRule, table: AxisTable, sides: Record<Side, SideBuilder>): void {
  const compile = (term: Term) => compileTerm(term, rule.op, table);
  const map = { rule, native: rule.native.map(compile), hf: rule.hf.map(compile) };
  const outer = commonAxes([...map.native, ...map.hf]);
  proveSameParts(map.native, map.hf);
  const compiled: CompiledMap = { ...map, outer };
  const instances = new Map<string, object>();
  const instanceAt = (at: Readonly<Record<string, number>>): object => {
    const id = outer.map((axis) => at[axis]).join();
    const instance = instances.get(id) ?? {};
    instances.set(id, instance);
    return instance;
  };
  for (const name of ["native", "hf"] as const) {
    const side = sides[name];
    const axes = commonAxes(compiled[name]);
    const emitters = compiled[name].map((term, i) => {
      const others = (rule[name][i]!.spellings ?? []).map((text) => alternative(text, term.key.text, table));
      const inner = term.key.axes.filter((axis) => !axes.includes(axis));
      return (at: Record<string, number>) =>
        table.walk(inner, at, () => {
          const key = side.keyAt(term.key, at);
          const positions = term.key.axes.map((axis) => at[axis]!);
          const spellings = side.keysAt(others, at);
          side.add({ kind: "map", key, spellings, map: compiled, term, at: positions, instance: instanceAt(at) });
        });
    });
    side.expansions.push({
      axes,
      emit: (at) => {
        for (const emit of emitters) emit(at);
      },
    });
  }
}

/** Axes in the keys of all of these tensors. */
const commonAxes = ([first, ...others]: readonly CompiledTerm[]): readonly string[] =>
  first?.key.axes.filter((axis) => others.every((term) => term.key.axes.includes(axis))) ?? [];

function alternative(text: string, canonical: string, table: AxisTable): KeyPattern {
  const pattern = parseKey(text, table.size);
  if (pattern.axes.toSorted().join() !== parseKey(canonical, table.size).axes.toSorted().join())
    throw tableError(`"${text}" is no spelling of "${canonical}": it has other axes`);
  return pattern;
}

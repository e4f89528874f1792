// A table at a concrete config, and what it does to a checkpoint at hand.

import { Check } from "./check.ts";
import { type Compiled, type CompiledSide, compileRules, type Slot } from "./compile.ts";
import type { Axes } from "./dims/axes.ts";
import type { TableFault } from "./faults/fault.ts";
import { Forms } from "./forms.ts";
import type { TablePlan } from "./move.ts";
import { axisOf, refusalOf } from "./pass-through.ts";
import { absentParts, planOf } from "./planner.ts";
import type { Direction, PlanOptions, Source } from "./request.ts";
import type { Form, Ranks, Rule, Side, Term } from "./rule.ts";
import { type Variant, Variants } from "./variants.ts";
import { writtenOut } from "./written-out.ts";

export type { Direction, PlanOptions, Source, SourceTensor } from "./request.ts";

/** A tensor that one side of the table can have. */
export interface TableTensor {
  readonly key: string;
  /** null for a dimension of any size. */
  readonly shape: readonly (number | null)[];
  readonly need: "required" | "optional" | "alias" | "dropped";
  readonly ranks: Ranks | null;
  /** Of an alias: the tensor that it repeats. */
  readonly of?: string;
  /** The rule it comes from: `permuteRope`. */
  readonly rule: string;
  /** Of a dropped tensor: the value it is made with where it is missing. */
  readonly recreate?: number | undefined;
  /** Encodings under which it has dims of its own. */
  readonly encodedDims?: readonly string[] | undefined;
  /** The part of the model that it belongs to, where files may lack that part as a whole. */
  readonly tower?: string | undefined;
}

export interface Table {
  /**
   * Everything that is wrong with a source, the first being what `plan` throws. Throws InputError UNKNOWN_ORDER for an
   * order to write that the table does not have.
   */
  check(direction: Direction, source: Source, options?: PlanOptions): readonly TableFault[];
  /**
   * What becomes of every tensor of the source. Throws the first fault as an InputError (MISSING_TENSOR, UNKNOWN_TENSOR,
   * SHAPE_MISMATCH, …), naming the first tensor and how many more; and what `check` throws.
   */
  plan(direction: Direction, source: Source, options?: PlanOptions): TablePlan;
  /** With a source of that side also what passes through over an axis, as the source has it. */
  tensors(side: Side, source?: Source): TableTensor[];
  /** Those of `tensors` that repeat another, by their keys. */
  aliases(side: Side, source?: Source): readonly string[];
  /** Parts of the model that the config describes and the source does not have, which is no fault. */
  absent(direction: Direction, source: Source): readonly string[];
  /** Whether a rule refuses a key of that side by name. */
  refuses(side: Side, key: string): boolean;
  /** Encodings under which tensors of `hf` have dims of their own. */
  readonly ownDims: ReadonlySet<string>;
}

/** Expands and proves the rules; those of other forms than the usual one, when they are first asked for. Throws InputError TABLE_INVALID where they are no bijection. */
export function compileTable(rules: readonly Rule[], axes: Axes): Table {
  const forms = new Forms(rules);
  const usual = compileForm(forms.rulesIn(""), axes);
  if (forms.names.length === 1) return usual;
  const made = new Map([["", usual]]);
  const tableIn = (form: Form): Table => {
    const table = made.get(form) ?? compileForm(forms.rulesIn(form), axes);
    made.set(form, table);
    return table;
  };
  const formFor = (direction: Direction, source: Source, { form }: PlanOptions = {}) =>
    direction === "toHf" ? forms.of(source) : forms.checked(form);
  return {
    check: (direction, source, options) =>
      tableIn(formFor(direction, source, options)).check(direction, source, options),
    absent: (direction, source) => tableIn(formFor(direction, source)).absent(direction, source),
    plan(direction, source, options) {
      const form = formFor(direction, source, options);
      return { ...tableIn(form).plan(direction, source, options), form };
    },
    tensors: (side, source) =>
      (side === "native" && source !== undefined ? tableIn(forms.of(source)) : usual).tensors(side, source),
    aliases: (side, source) =>
      (side === "native" && source !== undefined ? tableIn(forms.of(source)) : usual).aliases(side, source),
    refuses: (side, key) => usual.refuses(side, key),
    ownDims: usual.ownDims,
  };
}

function compileForm(rules: readonly Rule[], axes: Axes): Table {
  const variants = new Variants(rules, axes);
  const { canonical } = variants;
  const at = ({ rules, axes, compiled }: Variant, side: Side, source: Source): Compiled => {
    if (!compiled.passThrough.some((rule) => axisOf(rule) !== undefined)) return compiled;
    const full = writtenOut(rules, axes, side, compiled[side], source);
    return compileRules(full.rules, full.axes);
  };
  const checked = (direction: Direction, source: Source, options: PlanOptions) => {
    if (direction === "fromHf") {
      const variant = variants.of("hf", source);
      const isElsewhere = (key: string) => variants.knowsElsewhere(variant, "hf", key);
      return { check: new Check(at(variant, "hf", source), direction, source, options, isElsewhere), variant };
    }
    // An order of keys belongs to a variant, whose tensors have no other. An order of dims is declared by the tensors.
    const { order = "", orderAt = [], ...others } = options;
    const variant = variants.named(order, orderAt);
    const compiled = at(variant ?? canonical, "native", source);
    const check = new Check(compiled, direction, source, variant === undefined ? options : others);
    return { check, variant: canonical };
  };
  const sideFor = (side: Side, source?: Source) =>
    (source === undefined ? canonical.compiled : at(variants.of(side, source), side, source))[side];
  return {
    check: (direction, source, options = {}) => checked(direction, source, options).check.faults,
    absent: (direction, source) => absentParts(checked(direction, source, {}).check),
    plan: (direction, source, options = {}) => {
      const { check, variant } = checked(direction, source, options);
      const plan = planOf(check);
      return variant.order === "" ? plan : { ...plan, order: variant.order, orderAt: variant.at };
    },
    tensors: (side, source) => {
      const own = sideFor(side, source);
      return own.slots.map((slot) => describe(slot, own));
    },
    aliases: (side, source) => sideFor(side, source).slots.flatMap(({ kind, key }) => (kind === "tie" ? key : [])),
    refuses: (side, key) => refusalOf(canonical.compiled.refused, side, key) !== undefined,
    ownDims: new Set(rules.flatMap((rule) => (rule.kind === "map" ? rule.hf.flatMap(encodingsOf) : []))),
  };
}

const encodingsOf = ({ encoded = {} }: Term): string[] => Object.keys(encoded);

function describe(slot: Slot, side: CompiledSide): TableTensor {
  const { key } = slot;
  switch (slot.kind) {
    case "map": {
      const { op: rule, tower } = slot.map.rule;
      const need = slot.map.rule.optional ? "optional" : "required";
      const { plain, ranks, encoded } = slot.term;
      const encodedDims = encoded.size > 0 ? [...encoded.keys()] : undefined;
      return { key, shape: plain.shape, need, ranks, rule, tower, encodedDims };
    }
    case "tie":
      return {
        ...describe(side.byKey.get(slot.of)!, side),
        key,
        need: "alias",
        of: slot.of,
        rule: "tie",
        ...(slot.rule.ranks === undefined ? {} : { ranks: slot.rule.ranks }),
      };
    case "drop":
      return {
        key,
        shape: slot.shape,
        need: "dropped",
        ranks: slot.rule.ranks ?? null,
        rule: "drop",
        recreate: slot.rule.recreate,
      };
    default:
      throw slot satisfies never;
  }
}

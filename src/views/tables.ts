// Tables as models use them: compiled once, when they are first asked.
import type { JsonObject } from "../base/json.ts";
import { type Family, tableLayout } from "../family/family.ts";
import { isSameLayout, type Layout, type NativeLayout } from "../family/layout.ts";
import type { TableFault } from "../table/faults/fault.ts";
import { checkKeyCount } from "../table/key-count.ts";
import { compileTable, type Direction, type PlanOptions, type Source, type Table } from "../table/plan.ts";
import { type Switched, switchOf } from "./configs/switches.ts";
import type { TensorSource } from "./tensor-source.ts";

/** A model's tensors by the keys of its layout, and the table that knows these keys. */
export interface ViewedModel {
  readonly family: Family;
  /** At the config of `family`. */
  readonly layout: Layout;
  /** The config as its file has it; without it no error names a field. */
  readonly json?: JsonObject;
  /** Of `tableLayout(family, layout)`. */
  readonly table: Table;
  readonly source: TensorSource;
}

/**
 * The table between a native layout and `hf`. Its methods throw InputError TABLE_INVALID where the rules are no bijection,
 * and CONFIG_TOO_LARGE for sizes that the tensors at hand, of either side, cannot belong to.
 * @param model whose config is asked which of its fields switches tensors at fault on or off
 */
export function tableOf(native: NativeLayout, atHand: Source, model?: Switched): Table {
  let made: Table | undefined;
  const compiled = () => {
    made ??= compiledFor(native, atHand);
    return made;
  };
  const asking = (direction: Direction, source: Source, options: PlanOptions): PlanOptions => {
    if (model === undefined) return options;
    const find = (faults: readonly TableFault[]) =>
      switchOf(
        model,
        { direction, source, faults },
        (other) => compiledFor(other, atHand),
        (table) => table.check(direction, source, options),
      );
    return { ...options, switchOf: find };
  };
  return {
    check: (direction, source, options = {}) => compiled().check(direction, source, asking(direction, source, options)),
    plan: (direction, source, options = {}) => compiled().plan(direction, source, asking(direction, source, options)),
    tensors: (...args) => compiled().tensors(...args),
    aliases: (...args) => compiled().aliases(...args),
    absent: (...args) => compiled().absent(...args),
    refuses: (...args) => compiled().refuses(...args),
    get ownDims() {
      return compiled().ownDims;
    },
  };
}

function compiledFor(native: NativeLayout, atHand: Source): Table {
  const [rules, axes] = [native.rules(), native.axes()];
  checkKeyCount(rules, axes, atHand);
  return compileTable(rules, axes);
}

/** The table between `hf` and a layout that the model goes to: its own, unless that one is native and another. */
export function tableTo({ family, layout, json, table, source }: ViewedModel, to: Layout): Table {
  if (to.side === "hf" || isSameLayout(to, tableLayout(family, layout))) return table;
  return tableOf(to, source.tensors, json && { family, layout: to, json });
}

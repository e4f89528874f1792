// Tables as models use them: compiled once, when they are first asked.
import { type Family, tableLayout } from "../family/family.ts";
import { isSameLayout, type Layout, type NativeLayout } from "../family/layout.ts";
import { checkKeyCount } from "../table/key-count.ts";
import { compileTable, type Source, type Table } from "../table/plan.ts";
import type { TensorSource } from "./tensor-source.ts";

/** A model's tensors by the keys of its layout, and the table that knows these keys. */
export interface ViewedModel {
  readonly family: Family;
  /** At the config of `family`. */
  readonly layout: Layout;
  /** Of `tableLayout(family, layout)`. */
  readonly table: Table;
  readonly source: TensorSource;
}

/**
 * The table between a native layout and `hf`. Its methods throw InputError TABLE_INVALID where the rules are no bijection,
 * and CONFIG_TOO_LARGE for sizes that the tensors at hand, of either side, cannot belong to.
 */
export function tableOf(native: NativeLayout, atHand: Source): Table {
  let made: Table | undefined;
  const compiled = () => {
    made ??= compiledFor(native, atHand);
    return made;
  };
  return {
    check: (...args) => compiled().check(...args),
    plan: (...args) => compiled().plan(...args),
    tensors: (...args) => compiled().tensors(...args),
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
export const tableTo = ({ family, layout, table, source }: ViewedModel, to: Layout): Table =>
  to.side === "hf" || isSameLayout(to, tableLayout(family, layout)) ? table : tableOf(to, source.tensors);

// Layouts by their names, as tests write them.
import type { Forward, KnownDifference } from "../../numerics/graph.ts";
import type { Adapter } from "../../src/family/adapter.ts";
import { bound, type Family, tableLayout } from "../../src/family/family.ts";
import type { Layout, NativeLayout } from "../../src/family/layout.ts";
import { detect } from "../../src/model/detect.ts";
import { compileTable } from "../../src/table/plan.ts";

export const layoutOf = (family: Family, name: string): Layout => bound(family, { name });

export function nativeLayout(family: Family, name: string): NativeLayout {
  const layout = layoutOf(family, name);
  if (layout.side !== "native") throw new Error(`${name} has no table`);
  return layout;
}

/** The table that knows the layout's keys. */
export function compiledTable(family: Family, name: string) {
  const layout = tableLayout(family, layoutOf(family, name));
  return compileTable(layout.rules(), layout.axes());
}

export const nativeNames = ({ layouts }: Pick<Adapter, "layouts">): string[] => layouts.map(({ name }) => name);

/** What a layout's own graph differs in; none for `hf`. */
export const differencesOf = (layout: Layout): readonly KnownDifference[] =>
  layout.side === "native" ? layout.differences() : [];

/** The layout with another forward pass, of which no difference is known. */
export const runBy = (layout: Layout, forward: Forward): Layout =>
  layout.side === "native"
    ? { ...layout, forward: () => forward, differences: () => [] }
    : { ...layout, forward: () => forward };

/** What `detect` finds, the layout by its name. */
export function detected(...args: Parameters<typeof detect>): { readonly adapter: Adapter; readonly layout: string } {
  const { adapter, layout } = detect(...args);
  return { adapter, layout: layout.name };
}

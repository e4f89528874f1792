// Two halves of an axis that moved within it: as wholes, or row by row.
import type { Along } from "./along.ts";
import { groupWords } from "./moves.ts";
import { divisorsOf, type Place } from "./order.ts";

export interface Halves {
  readonly of: "rows" | "columns";
  /** Of both halves together. */
  readonly size: number;
  readonly where: string;
}

/** @param waysOf where each part of so many comes from; the first that holds is taken */
export function halvesBy(orders: readonly Along[], waysOf: (size: number) => readonly Place[]): Halves | null {
  for (const along of orders) {
    const { order, axes, of } = along;
    const axis = axes.at(-1)!;
    for (const size of divisorsOf(order.parts)) {
      if (size % 2 !== 0 || size < 4 || size > axis) continue;
      for (const way of waysOf(size)) {
        const groups = order.groupsOf(size, way);
        // Two neighbours among many are exchanged, and are no halves.
        if (groups === null || (size < axis && groups.length < order.parts / size)) continue;
        return { of, size, where: groupWords(groups, size, along) };
      }
    }
  }
  return null;
}

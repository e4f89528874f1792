// The named axes of a table at a concrete config.
import { tableError } from "./dims.ts";

/** Sizes of the named axes; a list instead of a size names the indices in use (`dense: [0, 1, 2]`). */
export type Axes = Readonly<Record<string, number | readonly number[]>>;

/** Sizes and key indices of the axes in use. `two` is always there. */
export class AxisTable {
  private readonly sizes = new Map<string, number>([["two", 2]]);
  private readonly indices = new Map<string, readonly number[]>();

  constructor(axes: Axes) {
    for (const [axis, value] of Object.entries(axes)) {
      const values = typeof value === "number" ? [value] : value;
      if (!values.every((v) => Number.isSafeInteger(v) && v >= 0))
        throw tableError(`axis "${axis}": ${JSON.stringify(value)} is no size and no list of indices`);
      if (typeof value !== "number") {
        if (new Set(value).size < value.length) throw tableError(`axis "${axis}": an index comes twice`);
        this.indices.set(axis, value);
      }
      this.sizes.set(axis, typeof value === "number" ? value : value.length);
    }
  }

  readonly size = (axis: string): number => {
    const size = this.sizes.get(axis);
    if (size === undefined) throw tableError(`axis "${axis}" has no size`, "name it in the family's axes()");
    return size;
  };

  /** What stands in a key at a position of the axis. */
  index(axis: string, position: number): number {
    return this.indices.get(axis)?.[position] ?? position;
  }

  /** Calls `visit` at every position of the axes, the last one fastest. */
  walk(axes: readonly string[], at: Record<string, number>, visit: () => void, depth = 0): void {
    const axis = axes[depth];
    if (axis === undefined) {
      visit();
      return;
    }
    const size = this.size(axis);
    for (let i = 0; i < size; i++) {
      at[axis] = i;
      this.walk(axes, at, visit, depth + 1);
    }
  }
}

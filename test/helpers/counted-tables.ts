// Tables that count how often they are compiled and asked for a plan, at the door of the table room, through which everyone
// goes. A test that counts mocks that module:
//   vi.mock("../../src/table/plan.ts", async (original) => (await import("./counted-tables.ts")).counting(await original()));
import type * as plan from "../../src/table/plan.ts";

/** Since `reset`. */
export const counts = { compiled: 0, toHf: 0, fromHf: 0 };

export const reset = (): void => {
  Object.assign(counts, { compiled: 0, toHf: 0, fromHf: 0 });
};

export function counting({ compileTable, ...others }: typeof plan): typeof plan {
  const counted: typeof compileTable = (rules, axes) => {
    counts.compiled++;
    const table = compileTable(rules, axes);
    const plan: typeof table.plan = (direction, ...rest) => {
      counts[direction]++;
      return table.plan(direction, ...rest);
    };
    return { ...table, plan };
  };
  return { ...others, compileTable: counted };
}

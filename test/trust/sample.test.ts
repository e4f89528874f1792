// A sample of `npm run trust`: some mutants of every family, of many kinds. Each is caught, located and named, controls pass.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { UNREAD } from "../../src/faults/kinds/controls/controls.ts";
import { KINDS } from "../../src/faults/kinds/registry.ts";
import { randomIds } from "../../src/parity/inputs/random.ts";
import { readableIds, runnable } from "./bases.ts";
import { type Planned, selected } from "./select.ts";
import { CHECKS, tryMutant } from "./try.ts";

const folder = mkdtempSync(join(tmpdir(), "trust-sample-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Mutants of each family. */
const EACH = 3;

/** Goldens are tried by `npm run trust` alone: hypotheses take their time. */
const goldenOf = () => null;

/** One base a family, and of each some kinds that no family before it had. */
function sample(): readonly Planned[] {
  const bases = adapters.map(({ family }) => runnable().find((base) => base.family === family)!);
  const all = selected(bases, { faults: adapters.length, controls: 1, seed: 7 });
  const taken = new Set<string>();
  const faults = bases.flatMap(({ family }) => {
    const own = all.filter(({ base, kind }) => base.family === family && kind.code !== null && kind.keepsShapes);
    const fresh = own.filter(({ kind }) => !taken.has(kind.name));
    const apart = [...new Map(fresh.map((one) => [one.kind.name, one])).values()];
    const some = apart.filter((_, i) => i % Math.ceil(apart.length / EACH) === 0);
    for (const { kind } of some) taken.add(kind.name);
    return some;
  });
  return [...faults, ...all.filter(({ kind }) => kind.code === null).slice(0, 3)];
}

const planned = sample();

test("the sample is of all families and of at least 20 kinds", () => {
  expect(new Set(planned.map(({ base }) => base.family))).toEqual(new Set(adapters.map(({ family }) => family)));
  expect(new Set(planned.map(({ kind }) => kind)).size).toBeGreaterThanOrEqual(20);
});

describe("mutants", () => {
  test.each(planned.map((one) => [one.kind.name, one.base.name, one.place, one] as const))(
    "%s in %s, %s",
    async (_, __, ___, one) => {
      const row = await tryMutant(one, { folder, goldenOf });
      expect(row.skipped).toBeNull();
      const refusing = CHECKS.filter((check) => row.said[check] === "fails");
      if (row.code === null) {
        expect(refusing.filter((check) => check !== "diff" && check !== "seal")).toEqual([]);
        return;
      }
      expect(refusing.length).toBeGreaterThan(0);
      expect(row, `${row.where}, ${row.name}`).toMatchObject({ located: true, named: true });
    },
  );
});

test("what inputs are made for a base has no id whose vector a control changes", () => {
  const facts = { vocabSize: 8, maxPositions: 600, dtype: null };
  expect(randomIds(512, 8, 0)).toContain(UNREAD);
  expect(readableIds(facts)).toHaveLength(512);
  expect(readableIds(facts)).not.toContain(UNREAD);
});

test("names of kinds are public: each is one, in one spelling", () => {
  const names = KINDS.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
  for (const name of names) expect(name).toMatch(/^[a-z0-9]+(?:-[a-z0-9]+)*$/);
});

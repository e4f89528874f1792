// docs/trust.md says what was missed, and a run that missed something fails.
import { expect, test } from "vitest";
import { KINDS } from "../../src/faults/kinds/registry.ts";
import type { PairRow } from "./pairs.ts";
import { page, problems } from "./report.ts";
import { CHECKS, type Row } from "./try.ts";

const said = (check: string) => Object.fromEntries(CHECKS.map((each) => [each, each === check ? "fails" : "passes"]));

const rows = KINDS.filter(({ code }) => code !== null).flatMap(({ name, code, keepsShapes }) =>
  [1, 2, 3].map((i): Row => {
    const about = { base: "a/b", family: "llama3", layout: "hf", side: "hf", place: `place.${i}`, seconds: 1 } as const;
    const right = { located: true, where: "layers.0.attn", named: true, name: code, goldenName: null, skipped: null };
    return { kind: name, code, keepsShapes, ...about, ...right, said: said("parity") as Row["said"] };
  }),
);
const pairs = Array.from({ length: 120 }, (_, i): PairRow => {
  return { name: `pair ${i}`, how: "shards", bits: i % 2 === 0, alarms: [], ran: ["diff"], seconds: 1 };
});
const good = { rows, pairs, seed: "1", seconds: 60, again: [] };
const [first, ...others] = rows;
const withFirst = (change: Partial<Row>) => ({ ...good, rows: [{ ...first!, ...change }, ...others] });

test("a run without a miss has no problem", () => {
  expect(problems(good)).toEqual([]);
  expect(page(good)).toContain("All limits are kept.");
  expect(page(good)).not.toContain("tried again");
  expect(page({ ...good, again: ["qk-norm-on"] })).toContain("| tried again since, alone | `qk-norm-on` |");
});

test.each<[string, Partial<Row>, RegExp]>([
  ["missed", { said: said("none") as Row["said"] }, /^1 missed$/],
  ["mislocated", { located: false }, /^1 mislocated$/],
  ["a control that is punished", { code: null }, /^1 controls punished$/],
])("%s: the run fails, and the page lists it", (_, change, problem) => {
  const found = withFirst(change);
  expect(problems(found)).toEqual([expect.stringMatching(problem)]);
  expect(page(found)).toContain("Limits not kept");
  if (change.code !== null) expect(page(found)).toContain(`| \`${first!.kind}\` | a/b (hf) | \`place.1\` |`);
});

test("misnamed ones are listed, and few are let pass", () => {
  expect(problems(withFirst({ named: false, name: "SCALED" }))).toEqual([]);
  expect(page(withFirst({ named: false, name: "SCALED" }))).toContain(`SCALED, not ${first!.code}`);
  const many = rows.map((row, i) => (i % 20 === 0 ? { ...row, named: false } : row));
  expect(problems({ ...good, rows: many })).toEqual([expect.stringMatching(/misnamed/)]);
});

test("a good pair that is refused fails the run; so do too few mutants, kinds and pairs", () => {
  const refused = { ...pairs[0]!, alarms: ["parity"] };
  expect(problems({ ...good, pairs: [refused, ...pairs.slice(1)] })).toEqual(["1 good pairs refused"]);
  expect(problems({ ...good, rows: rows.slice(0, 30), pairs: pairs.slice(0, 3) })).toHaveLength(5);
});

// Rules made at random: any parts, any order, any axes in keys, against the naive reference.
import fc from "fast-check";
import { expect, test } from "vitest";
import { compileTable } from "../../src/table/plan.ts";
import { map } from "../../src/table/rule.ts";
import { applyMove } from "../helpers/moves.ts";
import { referencePair, type SideSpec } from "./reference.ts";

const COMMON = ["x", "y", "z"];
const OWN = ["a", "b", "c"];

/** Random choices for one tensor: an order, which axes go to the key, which dims are joined into products. */
const choices = fc.record({
  order: fc.array(fc.nat(), { minLength: 8, maxLength: 8 }),
  inKey: fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }),
  joined: fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }),
});
type Choices = typeof choices extends fc.Arbitrary<infer T> ? T : never;

const shuffled = (items: readonly string[], { order }: Choices): string[] =>
  items
    .map((item, i) => [order[i]!, i, item] as const)
    .sort(([a, i], [b, j]) => a - b || i - j)
    .map(([, , item]) => item);

/** Factors as dims, neighbours joined at random: `["a", "b", "c"]` → `"(a b) c"`. */
function dims(factors: readonly string[], { joined }: Choices): string {
  const groups: string[][] = [];
  for (const [i, factor] of factors.entries()) {
    if (i > 0 && joined[i]) groups.at(-1)!.push(factor);
    else groups.push([factor]);
  }
  return groups.map((group) => (group.length > 1 ? `(${group.join(" ")})` : group[0]!)).join(" ") || ".";
}

function tensor(name: string, label: string | null, axes: readonly string[], choice: Choices): [string, string] {
  const inKey = axes.filter((_, i) => choice.inKey[i]);
  const rest = shuffled(
    axes.filter((axis) => !inKey.includes(axis)),
    choice,
  );
  const key = [name, ...inKey.map((axis) => `{${axis}}`)].join(".");
  return [key, `${label === null ? "" : `${label}: `}${dims(rest, choice)}`];
}

/** Parts side by side in one tensor; the axes they share stand outside, the others inside. */
function fused(
  name: string,
  parts: readonly (readonly string[])[],
  common: readonly string[],
  all: readonly Choices[],
): [string, string] {
  const [choice] = all as [Choices, ...Choices[]];
  const inKey = common.filter((_, i) => choice.inKey[i]);
  const sum = `(${parts.map((own, p) => `p${p}: ${shuffled(own, all[p]!).join(" ")}`).join(" | ")})`;
  const factors = shuffled([...common.filter((axis) => !inKey.includes(axis)), sum], choice);
  return [[name, ...inKey.map((axis) => `{${axis}}`)].join("."), dims(factors, choice)];
}

const side = (
  name: string,
  isFused: boolean,
  parts: readonly (readonly string[])[],
  common: readonly string[],
  all: readonly Choices[],
): SideSpec =>
  Object.fromEntries(
    isFused && parts.length > 1
      ? [fused(name, parts, common, all)]
      : parts.map((own, p) => tensor(`${name}${p}`, parts.length > 1 ? `p${p}` : null, [...common, ...own], all[p]!)),
  );

const subset = (axes: readonly string[]) => fc.subarray([...axes], { maxLength: 2 });
const size = fc.integer({ min: 0, max: 3 });

const rule = fc.record({
  common: subset(COMMON),
  parts: fc.array(subset(OWN), { minLength: 1, maxLength: 3 }),
  isFused: fc.tuple(fc.boolean(), fc.boolean()),
  choices: fc.tuple(fc.tuple(choices, choices, choices), fc.tuple(choices, choices, choices)),
  sizes: fc.record({ x: size, y: size, z: size, a: size, b: size, c: size }),
});

test("whatever can be said converts there and back as the reference does", () => {
  fc.assert(
    fc.property(rule, ({ common, parts, isFused, choices: [forNative, forHf], sizes }) => {
      const native = side("native", isFused[0], parts, common, forNative);
      const hf = side("hf", isFused[1], parts, common, forHf);
      const table = compileTable([map("random", native, hf)], sizes);
      for (const [direction, from, to] of [
        ["toHf", native, hf],
        ["fromHf", hf, native],
      ] as const) {
        const { source, target } = referencePair(from, to, sizes);
        const infos = new Map([...source].map(([key, { shape }]) => [key, { dtype: "F32" as const, shape }]));
        const made = table
          .plan(direction, infos)
          .moves.map((move) => [move.key, applyMove(move, (key) => source.get(key)!)] as const);
        expect(new Map(made)).toEqual(target);
      }
    }),
    { numRuns: 400 },
  );
});

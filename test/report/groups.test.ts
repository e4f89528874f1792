import { expect, it } from "vitest";
import { groupedBy } from "../../src/report/groups.ts";

const names = (keys: readonly string[], all = false) =>
  groupedBy(
    keys,
    (key) => key,
    () => "",
    { all },
  ).map(({ name, members }) => `${name} × ${members.length}`);

it("keys that differ in numbers alone stand in one line, with the numbers that there are", () => {
  const layers = [0, 1, 2, 5].flatMap((l) => [0, 1].map((e) => `layers.${l}.experts.${e}.w1`));
  expect(names([...layers, "norm.weight"])).toEqual(["layers.{0–2,5}.experts.{0–1}.w1 × 8", "norm.weight × 1"]);
  expect(names(["a.10", "a.9", "a.8"])).toEqual(["a.{8–10} × 3"]);
});

it("a number that all have is spelled out, and so is a key that stands alone", () => {
  expect(names(["layers.3.q.0", "layers.3.q.1"])).toEqual(["layers.3.q.{0–1} × 2"]);
  expect(names(["layers.3.q.0"])).toEqual(["layers.3.q.0 × 1"]);
});

it("only whole steps of a key are numbers", () => {
  expect(names(["w1.a", "w2.a", "01.a", "1.a"])).toEqual(["w1.a × 1", "w2.a × 1", "01.a × 1", "1.a × 1"]);
});

it("many runs are cut, before the last", () => {
  expect(names(Array.from({ length: 20 }, (_, i) => `x.${3 * i}`))).toEqual(["x.{0,3,6,9,12,…,57} × 20"]);
});

it("what differs otherwise stands apart; with `all` every one does", () => {
  const shapes = [
    ["x.0", "F32"],
    ["x.1", "BF16"],
    ["x.2", "F32"],
  ] as const;
  const groups = groupedBy(
    shapes,
    ([key]) => key,
    ([, dtype]) => dtype,
  );
  expect(groups.map(({ name }) => name)).toEqual(["x.{0,2}", "x.1"]);
  expect(names(["x.0", "x.1"], true)).toEqual(["x.0 × 1", "x.1 × 1"]);
});

import { expect, test } from "vitest";
import { loadablePaths } from "../../../src/formats/dcp/loadable-paths.ts";

const loadable = (...paths: readonly (readonly (string | number)[])[]) => {
  const keys = paths.map((path) => path.join("."));
  return [...loadablePaths(keys, new Map(keys.map((key, i) => [key, paths[i]!]))).values()];
};

// Each was loaded by dcp_to_torch_save of torch 2.13; with the paths as given, those that become flat fail there.
test("dicts and whole lists keep their nesting", () => {
  const paths = [
    ["model", "a.b"],
    ["l", 1, "t"],
    ["l", 0],
    ["n", 0, 0],
    ["n", 1, 0],
  ];
  expect(loadable(...paths)).toEqual(paths);
});

test("below a list with missing items, and in one that this leaves incomplete, names are flat", () => {
  expect(loadable(["l", 2, "t"], ["m", "w"])).toEqual([["l.2.t"], ["m", "w"]]);
  expect(loadable(["n", 0, 1], ["n", 1, 0])).toEqual([["n.0.1"], ["n.1.0"]]);
  expect(loadable(["n", 0, 0], ["n", 1, 1])).toEqual([["n", 0, 0], ["n.1.1"]]);
});

test("a list at the root, and what stands inside another tensor, are flat", () => {
  expect(loadable([0], [1])).toEqual([["0"], ["1"]]);
  expect(loadable(["a"], ["a", "b"])).toEqual([["a"], ["a", "b"]].map((path) => [path.join(".")]));
  expect(loadable(["a", 0], ["a", "b"])).toEqual([["a.0"], ["a", "b"]]);
});

test("a path that is not that of its name is the name", () => {
  expect([...loadablePaths(["x.y"], new Map([["x.y", ["z"]]])).values()]).toEqual([["x.y"]]);
  expect([...loadablePaths(["x.y"], new Map()).values()]).toEqual([["x.y"]]);
});

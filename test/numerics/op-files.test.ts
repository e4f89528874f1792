// CONTRIBUTING says in which files an op stands. These names occur nowhere else.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

const root = new URL("../../numerics/", import.meta.url).pathname;
const sources = readdirSync(root, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .map((file) => ({ file, text: readFileSync(join(root, file), "utf8").replace(/^\s*(?:\/\/|\/?\*).*$/gm, "") }));

it.each([
  ["gather", "lookup", "copy"],
  ["rmsNorm", "norm", "rms-norm"],
  ["layerNorm", "norm", "layer-norm"],
  ["reshape", "shape", null],
  ["concat", "shape", null],
  ["permute", "shape", "strided"],
  ["affine", "pointwise", "elementwise"],
  ["causalConv", "sequence", "causal-conv"],
  ["deltaRule", "sequence", "delta-rule"],
])("%s stands in graph.ts, three files of its group, and its kernel", (op, group, kernel) => {
  const found = sources.filter(({ text }) => new RegExp(`\\b${op}\\b`).test(text)).map(({ file }) => file);
  const own = ["ops", "js/ops", "webgpu/ops"].map((folder) => `${folder}/${group}.ts`);
  // Which rows of a table are read is seen as the pass is planned.
  const planned = op === "gather" ? ["shapes/plan.ts"] : [];
  const expected = ["graph.ts", ...planned, ...own, ...(kernel === null ? [] : [`webgpu/kernels/${kernel}.ts`])];
  expect(found.toSorted()).toEqual(expected.toSorted());
});

it.each(["softplus", "gelu"])("%s, a function of one value, is a line in four files", (f) => {
  const found = sources.filter(({ text }) => new RegExp(`\\b${f}\\b`).test(text)).map(({ file }) => file);
  const own = ["ops/pointwise.ts", "js/ops/pointwise.ts", "webgpu/kernels/elementwise.ts"];
  expect(found.toSorted()).toEqual(["graph.ts", ...own].toSorted());
});

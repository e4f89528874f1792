// The tree, against roots that Python computed by the same description: fixtures/generate/seals.py.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { rootOf, type TensorIdentity } from "../../../src/views/identity/merkle.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";

const { trees }: { trees: Readonly<Record<string, string>> } = JSON.parse(
  readFileSync(`${FIXTURES}seal/roots.json`, "utf8"),
);

const names = ["\uffee", "\u{1f600}", "a\nb", "", ...Array.from({ length: 13 }, (_, i) => `t${i}`)];
const tensors = names.map(
  (name, i): TensorIdentity => ({
    name,
    dtype: "F32",
    shape: i % 3 ? [i, 2] : [],
    sha256: createHash("sha256").update(name).digest("hex"),
  }),
);

describe("the root", () => {
  test.each(Object.entries(trees))("of %s tensors is what Python makes of them", (count, root) => {
    expect(rootOf(tensors.slice(0, Number(count)))).toBe(root);
    expect(rootOf(tensors.slice(0, Number(count)).reverse())).toBe(root);
  });

  test.each<[string, Partial<TensorIdentity>]>([
    ["name", { name: "other" }],
    ["dtype", { dtype: "BF16" }],
    ["shape", { shape: [2, 1] }],
    ["hash", { sha256: "0".repeat(64) }],
  ])("is another with another %s", (_, change) => {
    const changed = tensors.map((tensor, i) => (i === 4 ? { ...tensor, ...change } : tensor));
    expect(rootOf(changed)).not.toBe(rootOf(tensors));
  });
});

import fc from "fast-check";
import { expect, it } from "vitest";
import { nextTokens } from "../../src/parity/next-tokens.ts";

it("are the five largest of the softmax, largest first, the lower id first among equals", () => {
  const logit = fc.integer({ min: -8, max: 8 });
  fc.assert(
    fc.property(fc.array(logit, { minLength: 1, maxLength: 40 }), (logits) => {
      const weights = logits.map((x) => Math.exp(x));
      const sum = weights.reduce((a, b) => a + b, 0);
      const expected = logits
        .map((x, id) => ({ id, x, probability: weights[id]! / sum }))
        .sort((a, b) => b.x - a.x || a.id - b.id)
        .slice(0, 5);
      const found = nextTokens(Float64Array.from(logits));
      expect(found.map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
      for (const [i, { probability }] of found.entries()) expect(probability).toBeCloseTo(expected[i]!.probability, 12);
    }),
  );
});

it("does not overflow", () => {
  expect(nextTokens(Float32Array.of(1e4, 1e4, -1e4))).toEqual([
    { id: 0, probability: 0.5 },
    { id: 1, probability: 0.5 },
    { id: 2, probability: 0 },
  ]);
});

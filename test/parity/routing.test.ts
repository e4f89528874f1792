// Inputs of more tokens than a call takes arguments.
import { expect, test } from "vitest";
import type { Choice } from "../../numerics/routing.ts";
import { compareChoices, routingReport } from "../../src/parity/routing.ts";

const TOKENS = 130_000;
const choice = (expert: number): Choice => ({
  k: 1,
  experts: new Int32Array(TOKENS).fill(expert),
  weights: new Float64Array(TOKENS),
  margins: Float64Array.from({ length: TOKENS }, (_, t) => t / TOKENS),
});

test("of 130,000 tokens, all of which chose another expert, the largest margin is found", () => {
  const layer = compareChoices("layers.0", [choice(0), choice(1)]);
  const largestFlippedMargin = (TOKENS - 1) / TOKENS;
  expect(layer).toMatchObject({ tokens: TOKENS, flipped: TOKENS, largestFlippedMargin, smallestMargin: 0 });
  const report = routingReport("free", Array(TOKENS).fill(layer));
  expect(report).toMatchObject({ flipped: TOKENS * TOKENS, largestFlippedMargin, smallestMargin: 0 });
});

test("of tokens that all chose alike there is no margin of a flip", () => {
  const layer = compareChoices("layers.0", [choice(1), choice(1)]);
  expect(routingReport("free", [layer])).toMatchObject({ flipped: 0, largestFlippedMargin: null, smallestMargin: 0 });
});

import { describe, expect, it } from "vitest";
import { LogitComparison } from "../../numerics/metrics.ts";
import { klBins, LogitSampler } from "../../numerics/pictured.ts";

/** Rows of logits, the candidate's apart from the reference's by `apart(row)` at token 0. */
function compared(rows: number, vocab: number, apart: (row: number) => number, starts?: number[]): LogitComparison {
  const ids = Array.from({ length: rows }, () => 0);
  const comparison = new LogitComparison(ids, vocab, starts);
  for (let row = 0; row < rows; row++) {
    const reference = Float64Array.from({ length: vocab }, (_, v) => Math.sin(row + 3 * v));
    comparison.add(
      reference,
      reference.map((x, v) => (v === 0 ? x + apart(row) : x)),
    );
  }
  return comparison;
}

const binsOf = (prompts: readonly Float64Array[]) =>
  klBins(Math.max(...prompts.map(({ length }) => length)), (begin, end) =>
    Float64Array.from(prompts.flatMap((kl) => [...kl.subarray(begin, end)])),
  );

describe("KL by position, for a picture", () => {
  it("is every position where there are few", () => {
    const bins = compared(5, 4, (row) => row).positions(0).bins;
    expect(bins.width).toBe(1);
    expect(bins.klMaxNats).toHaveLength(5);
    expect(bins.klMedianNats).toEqual(bins.klMaxNats);
    expect(bins.klMaxNats[0]).toBe(0);
    expect(bins.klMaxNats[4]).toBeGreaterThan(bins.klMaxNats[1]!);
  });

  it("is the median and the largest of equal stretches where there are many", () => {
    const bins = binsOf([Float64Array.from({ length: 100_003 }, (_, i) => i)]);
    expect(bins.width).toBe(391);
    expect(bins.klMaxNats).toHaveLength(256);
    expect(bins.klMaxNats[0]).toBe(390);
    expect(bins.klMedianNats[0]).toBe(195);
    expect(bins.klMaxNats.at(-1)).toBe(1e5);
  });

  it("gathers several inputs by position, and hides nothing that is no number", () => {
    const [a, b] = [Float64Array.of(1, 2), Float64Array.of(5, Number.NaN, 3)];
    expect(binsOf([a, b])).toEqual({ width: 1, klMedianNats: [1, 2, 3], klMaxNats: [5, Number.NaN, 3] });
  });
});

describe("likeliest tokens at the worst position", () => {
  it("are those of both sides with the probabilities of both", () => {
    const rows = [
      [1, 2, 3],
      [4, 0, 0, 0, 0, 0, 1],
    ];
    const comparison = new LogitComparison([0, 0], 7);
    comparison.add(Float64Array.of(1, 2, 3, 0, 0, 0, 0), Float64Array.of(1, 2, 3, 0, 0, 0, 0));
    comparison.add(Float64Array.from(rows[1]!), Float64Array.of(0, 0, 0, 0, 0, 9, 1));
    const { worst } = comparison.positions(0);
    expect(worst.position).toBe(1);
    expect(worst.tokens[0]!.id).toBe(0);
    expect(worst.tokens[0]!.reference).toBeCloseTo(Math.exp(4) / (Math.exp(4) + Math.exp(1) + 5), 3);
    expect(worst.tokens.find(({ id }) => id === 5)!.candidate).toBeGreaterThan(0.99);
    expect(new Set(worst.tokens.map(({ id }) => id)).size).toBe(worst.tokens.length);
  });

  it("are none where a side has no probabilities", () => {
    const comparison = new LogitComparison([0, 0], 2);
    comparison.add(Float64Array.of(1, 2, 1, 2), Float64Array.of(1, 3, Number.NaN, 2));
    expect(comparison.positions(0).worst).toMatchObject({ position: 1, tokens: [] });
  });
});

describe("a sample of logits", () => {
  it.each([
    [512, 1000],
    [3, 50_000],
    [4096, 300],
    [2, 5],
  ])("of %i × %i is bounded, in order, and of both sides alike", (rows, vocab) => {
    const sampler = new LogitSampler(rows, vocab);
    const [reference, candidate] = [new Float64Array(vocab), Float64Array.from({ length: vocab }, (_, v) => v)];
    for (let row = 0; row < rows; row++) sampler.addRow(row, reference.fill(row), candidate, 3);
    const { spread, likeliest } = sampler.sample();
    for (const pairs of [spread, likeliest]) expect(pairs.candidate).toHaveLength(pairs.reference.length);
    expect(spread.reference).toHaveLength(Math.min(300, rows * vocab));
    expect(spread.reference).toEqual(spread.reference.toSorted((a, b) => a - b));
    // Every part of the rows and of the vocabulary is there.
    expect(new Set(spread.reference).size).toBeGreaterThan(Math.min(rows, 250) * 0.8);
    expect(new Set(spread.candidate.map((v) => Math.floor((5 * v) / vocab))).size).toBe(5);
    expect(likeliest.reference).toHaveLength(Math.min(100, rows));
    expect(new Set(likeliest.candidate)).toEqual(new Set([3]));
  });
});

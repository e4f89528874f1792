import { describe, expect, test } from "vitest";
import { LogitComparison } from "../../numerics/metrics.ts";
import { randomTensor } from "../helpers/tensors.ts";

function compare(reference: readonly number[][], candidate: readonly number[][], ids = reference.map(() => 0)) {
  const comparison = new LogitComparison(ids, reference[0]!.length);
  comparison.add(Float64Array.from(reference.flat()), Float64Array.from(candidate.flat()));
  return comparison;
}

const rows = (tokens: number, vocab: number, seed: number): number[][] => {
  const { values } = randomTensor([tokens, vocab], seed, 2);
  return Array.from({ length: tokens }, (_, t) => [...values.slice(t * vocab, (t + 1) * vocab)]);
};

const softmax = (row: readonly number[]) => {
  const total = row.reduce((sum, x) => sum + Math.exp(x), 0);
  return row.map((x) => Math.exp(x) / total);
};

test("KL(reference ‖ candidate) in nats, a mean over tokens, not divided by the vocabulary", () => {
  // ln 2 for (½, ½) against (¼, ¾) is ½ ln 2 + ½ ln ⅔.
  const { klMeanNats } = compare([[0, 0]], [[0, Math.log(3)]]).metrics();
  expect(klMeanNats).toBeCloseTo(0.5 * Math.log(2) + 0.5 * Math.log(2 / 3), 14);
  const other = compare([[0, Math.log(3)]], [[0, 0]]).metrics();
  expect(other.klMeanNats).toBeCloseTo(0.25 * Math.log(0.5) + 0.75 * Math.log(1.5), 14);
});

test("agrees with the definitions on random logits", () => {
  const [reference, candidate] = [rows(40, 17, 1), rows(40, 17, 2)];
  const ids = Array.from({ length: 40 }, (_, t) => (t * 5) % 17);
  const found = compare(reference, candidate, ids).metrics();
  const kl = reference.map((row, t) => {
    const [p, q] = [softmax(row), softmax(candidate[t]!)];
    return p.reduce((sum, x, v) => sum + x * Math.log(x / q[v]!), 0);
  });
  const order = [...kl].sort((a, b) => a - b);
  const best = (row: readonly number[]) => row.map((_, v) => v).sort((a, b) => row[b]! - row[a]!);
  const overlap = reference.map((row, t) => {
    const five = best(candidate[t]!).slice(0, 5);
    return (
      best(row)
        .slice(0, 5)
        .filter((v) => five.includes(v)).length / 5
    );
  });
  const nll = (row: readonly number[], next: number) => -Math.log(softmax(row)[next]!);
  const delta = ids.slice(1).map((next, t) => nll(candidate[t]!, next) - nll(reference[t]!, next));
  const mean = (x: readonly number[]) => x.reduce((sum, v) => sum + v, 0) / x.length;
  const cosine = reference.map((a, t) => {
    const b = candidate[t]!;
    const dot = (x: readonly number[], y: readonly number[]) => x.reduce((sum, v, i) => sum + v * y[i]!, 0);
    return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  });
  expect(found.klMeanNats).toBeCloseTo(mean(kl), 12);
  expect(found.klMaxNats).toBeCloseTo(order[39]!, 12);
  // numpy.percentile of 40 values: rank 0.95 · 39 = 37.05, 0.99 · 39 = 38.61.
  expect(found.klP95Nats).toBeCloseTo(order[37]! + 0.05 * (order[38]! - order[37]!), 12);
  expect(found.klP99Nats).toBeCloseTo(order[38]! + 0.61 * (order[39]! - order[38]!), 12);
  expect(found.top1).toBeCloseTo(
    mean(reference.map((row, t) => (best(row)[0] === best(candidate[t]!)[0] ? 1 : 0))),
    14,
  );
  expect(found.top5).toBeCloseTo(mean(overlap), 14);
  expect(found.deltaNllMean).toBeCloseTo(mean(delta), 12);
  expect(found.cosineMin).toBeCloseTo(Math.min(...cosine), 12);
  expect(found.maxAbsDiff).toBe(
    Math.max(...reference.flatMap((row, t) => row.map((x, v) => Math.abs(x - candidate[t]![v]!)))),
  );
  expect(found.ties).toBe(0);
});

test("rows may come in blocks", () => {
  const [reference, candidate] = [rows(9, 6, 3), rows(9, 6, 4)];
  const whole = compare(reference, candidate);
  const blocks = new LogitComparison(
    Array.from({ length: 9 }, () => 0),
    6,
  );
  for (const [begin, end] of [
    [0, 4],
    [4, 5],
    [5, 9],
  ] as const) {
    const part = (x: number[][]) => Float64Array.from(x.slice(begin, end).flat());
    blocks.add(part(reference), part(candidate));
  }
  expect(blocks.metrics()).toEqual(whole.metrics());
  expect(blocks.positions(0.1)).toEqual(whole.positions(0.1));
});

test("large logits do not overflow", () => {
  expect(compare([[1e4, 1e4 - 1]], [[-3e4, -3e4 - 1]]).metrics().klMeanNats).toBeCloseTo(0, 12);
});

test("equal logits are the same; a single token has no next one", () => {
  const found = compare([[1, 2, 3]], [[1, 2, 3]]).metrics();
  expect(found).toMatchObject({ klMeanNats: 0, klMaxNats: 0, top1: 1, top5: 1, maxAbsDiff: 0, deltaNllMean: null });
  expect(found.cosineMin).toBeCloseTo(1, 15);
});

describe("ties", () => {
  test("of the largest logit pass as agreement and are counted", () => {
    expect(compare([[5, 5, 0]], [[4.9, 5, 0]]).metrics()).toMatchObject({ top1: 1, ties: 1 });
    expect(compare([[5, 4.9, 0]], [[4, 5, 5]]).metrics()).toMatchObject({ top1: 0 });
    expect(compare([[4.9, 5, 0]], [[5, 5, 0]]).metrics()).toMatchObject({ top1: 1, ties: 1 });
  });

  test("at the fifth place pass, and only there", () => {
    const tied = compare([[9, 8, 7, 6, 5, 5, 0]], [[9, 8, 7, 6, 5, 5.1, 0]]).metrics();
    expect(tied).toMatchObject({ top5: 1, ties: 1 });
    const apart = compare([[9, 8, 7, 6, 5, 4.9, 0]], [[9, 8, 7, 6, 5, 5.1, 0]]).metrics();
    expect(apart).toMatchObject({ top5: 0.8, ties: 0 });
  });
});

describe("NaN and infinity", () => {
  test.each([
    ["candidate", Number.NaN, "NaN"],
    ["candidate", Number.POSITIVE_INFINITY, "Infinity"],
    ["reference", Number.NEGATIVE_INFINITY, "-Infinity"],
  ] as const)("in the %s: %d", (side, value, name) => {
    const [bad, good] = [[[1, 2], [value, 3], [0, 1]], [[1, 2], [2, 3], [0, 1]]]; // biome-ignore format: rows
    const comparison = side === "reference" ? compare(bad, good) : compare(good, bad);
    expect(comparison.nonFinite()).toEqual({ first: { side, position: 1, token: 0, value: name }, positions: 1 });
  });

  test("a NaN is not lost in a mean, a maximum or a percentile", () => {
    const found = compare([[1, 2], [1, 2]], [[1, 2], [Number.NaN, 2]]).metrics(); // biome-ignore format: rows
    for (const value of [found.klMeanNats, found.klMaxNats, found.maxAbsDiff, found.cosineMin]) expect(value).toBeNaN();
    expect(found.top1).toBe(0.5);
    expect(compare([[1, 2]], [[1, 2.5]]).nonFinite()).toBeNull();
  });
});

test("positions: bands that double, the worst one, the first over the limit", () => {
  const reference = Array.from({ length: 11 }, () => [0, 0]);
  const candidate = reference.map((_, t) => [0, t < 5 ? 0 : t === 8 ? 3 : 1]);
  const { bands, worst, firstOver } = compare(reference, candidate).positions(0.05);
  expect(bands.map(({ begin, end }) => [begin, end])).toEqual([[0, 1], [1, 2], [2, 4], [4, 8], [8, 11]]); // biome-ignore format: pairs
  expect(bands.map(({ klMaxNats }) => klMaxNats > 0)).toEqual([false, false, false, true, true]);
  expect(worst).toMatchObject({ position: 8, referenceTop: 0, candidateTop: 1 });
  expect(firstOver).toBe(5);
});

describe("several inputs, one behind the other", () => {
  const [reference, candidate] = [rows(12, 9, 5), rows(12, 9, 6)];
  const ids = [3, 1, 4, 1, 5, 8, 2, 6, 5, 3, 5, 8];
  const starts = [0, 5, 6];
  const spans = [
    [0, 5],
    [5, 6],
    [6, 12],
  ] as const;
  const together = new LogitComparison(ids, 9, starts);
  together.add(Float64Array.from(reference.flat()), Float64Array.from(candidate.flat()));
  const alone = spans.map(([begin, end]) =>
    compare(reference.slice(begin, end), candidate.slice(begin, end), ids.slice(begin, end)),
  );

  test("each is measured as if alone, all of them over their tokens", () => {
    expect(together.prompts()).toEqual(
      alone.map((one) => {
        const { tokens, klMeanNats, klMaxNats, top1 } = one.metrics();
        return { tokens, klMeanNats, klMaxNats, top1 };
      }),
    );
    const weighted = alone.map((one) => one.metrics().klMeanNats * one.metrics().tokens);
    expect(together.metrics().klMeanNats).toBeCloseTo(weighted.reduce((a, b) => a + b) / 12, 14);
  });

  test("no token is the next of another input's last", () => {
    const next = alone.map((one) => (one.metrics().deltaNllMean ?? 0) * (one.metrics().tokens - 1));
    expect(together.metrics().deltaNllMean).toBeCloseTo(next.reduce((a, b) => a + b) / 9, 14);
    expect(compare(reference, candidate, ids).metrics().deltaNllMean).not.toBeCloseTo(
      together.metrics().deltaNllMean!,
      6,
    );
  });

  test("positions count within each", () => {
    const { bands, worst, firstOver } = together.positions(Number.POSITIVE_INFINITY);
    expect(bands.map(({ begin, end }) => [begin, end])).toEqual([
      [0, 1],
      [1, 2],
      [2, 4],
      [4, 6],
    ]);
    const first = alone.map((one) => one.positions(1).bands[0]!.klMeanNats);
    expect(bands[0]!.klMeanNats).toBeCloseTo(first.reduce((a, b) => a + b) / 3, 14);
    expect(bands[0]!.klMaxNats).toBe(Math.max(...first));
    const largest = Math.max(...alone.map((one) => one.metrics().klMaxNats));
    const prompt = alone.findIndex((one) => one.metrics().klMaxNats === largest);
    expect(worst).toEqual({ prompt, ...alone[prompt]!.positions(1).worst });
    expect(firstOver).toBeNull();
    expect(together.positions(0).firstOver).toBe(0);
  });

  test("the first that is not finite is named with its input", () => {
    const bad = new LogitComparison([0, 0, 0], 2, [0, 1]);
    bad.add(Float64Array.of(1, 2, 1, 2, 1, Number.NaN), Float64Array.of(1, 2, 1, 2, 1, 2));
    expect(bad.nonFinite()).toEqual({
      first: { side: "reference", prompt: 1, position: 1, token: 1, value: "NaN" },
      positions: 1,
    });
  });
});

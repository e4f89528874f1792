// Attention in f64 takes four queries at a time, and gives the very bits of one sum after another: what a token sees does not
// depend on who stands beside it.
import { expect, test } from "vitest";
import type { AttentionMask } from "../../numerics/graph.ts";
import { attention } from "../../numerics/js/ops/attention.ts";
import { visibleRanges } from "../../numerics/visible.ts";

const [N, K] = [4, 2];

function values(size: number, seed: number): Float64Array {
  let x = seed;
  return Float64Array.from({ length: size }, () => {
    x = (x * 16_807) % 2_147_483_647;
    return x / 1_073_741_824 - 1;
  });
}

interface Case {
  readonly T: number;
  readonly H: number;
  readonly C: number;
  readonly mask: AttentionMask;
  readonly softcap: number | null;
  readonly sinks: Float64Array | null;
  /** Stands in the middle of the queries and of the values. */
  readonly odd: number | null;
}

function operands({ T, H, C, odd }: Case) {
  const [q, k, v] = [values(T * N * H, 1), values(T * K * H, 2), values(T * K * C, 3)];
  if (odd !== null) for (const each of [q, v]) each[each.length >> 1] = odd;
  return { q, k, v };
}

const SCALE = 0.3;

/** Row by row, each sum in its order. */
function oneByOne(one: Case): Float64Array {
  const { T, H, C, mask, softcap, sinks } = one;
  const { q, k, v } = operands(one);
  const visible = visibleRanges(T, mask);
  const out = new Float64Array(T * N * C);
  for (let t = 0; t < T; t++)
    for (let n = 0; n < N; n++) {
      const group = Math.floor((n * K) / N);
      const seen = Array.from({ length: visible.end[t]! - visible.begin[t]! }, (_, i) => visible.begin[t]! + i);
      const scores = seen.map((u) => {
        let dot = 0;
        for (let h = 0; h < H; h++) dot += q[(t * N + n) * H + h]! * k[(u * K + group) * H + h]!;
        return softcap === null ? dot * SCALE : softcap * Math.tanh((dot * SCALE) / softcap);
      });
      const largest = Math.max(...scores, sinks?.[n] ?? Number.NEGATIVE_INFINITY);
      const shares = scores.map((score) => Math.exp(score - largest));
      const total = shares.reduce((sum, share) => sum + share, sinks ? Math.exp(sinks[n]! - largest) : 0);
      for (const [i, u] of seen.entries())
        for (let c = 0; c < C; c++) out[(t * N + n) * C + c]! += (shares[i]! / total) * v[(u * K + group) * C + c]!;
    }
  return out;
}

const masksOf = (T: number): AttentionMask[] => [
  { kind: "causal" },
  ...[1, 3, 6, 9].map((size) => ({ kind: "window", size }) as const),
  ...[2, 5, 8].map((size) => ({ kind: "chunk", size }) as const),
  { kind: "segments", lengths: [T] },
  { kind: "segments", lengths: T > 3 ? [1, T - 3, 2] : [T] },
];

test("is what one query after another gives, bit for bit, whatever a mask lets each see", () => {
  for (const T of [1, 3, 4, 5, 8, 15, 22])
    for (const mask of masksOf(T))
      for (const [H, C] of [
        [3, 5],
        [4, 8],
      ] as const)
        for (const [softcap, sinks, odd] of [
          [null, null, null],
          [2, values(N, 5), null],
          [null, values(N, 5), Number.NaN],
          [null, null, Number.POSITIVE_INFINITY],
        ] as const) {
          const one = { T, H, C, mask, softcap, sinks, odd };
          const out = new Float64Array(T * N * C).fill(7);
          const visible = visibleRanges(T, mask);
          attention({ ...operands(one), sinks, scale: SCALE, softcap, visible }, { T, N, K, H, C }, out);
          expect(out, JSON.stringify(one)).toEqual(oneByOne(one));
        }
});

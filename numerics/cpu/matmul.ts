// y = x · Wᵀ in f64. Four rows of each operand meet in sixteen accumulators: eight loads for thirty-two operations.

/** Channels accumulated before moving on (the length of a chain), so that a tile of x (64 rows) stays in the second-level cache. */
const K_BLOCK = 512;
const T_BLOCK = 64;

/** Where a product goes: y[t, column + o] for rows o of W; `stride` is the width of y. */
export interface Target {
  readonly y: Float64Array;
  readonly stride: number;
  readonly column: number;
}

/** y[t, column + o] = Σᵢ x[t, i] · w[o, i] + bias[column + o], for x [T, I] and w [O, I]. */
export function matmulTransposed(
  x: Float64Array,
  w: Float64Array,
  sizes: { readonly T: number; readonly O: number; readonly I: number; readonly chain?: number | undefined },
  target: Target,
  bias?: Float64Array,
): void {
  const { T, O, I, chain = K_BLOCK } = sizes;
  for (let t = 0; t < T; t++) {
    const row = t * target.stride + target.column;
    if (bias) target.y.set(bias.subarray(target.column, target.column + O), row);
    else target.y.fill(0, row, row + O);
  }
  for (let i0 = 0; i0 < I; i0 += chain) {
    const i1 = Math.min(i0 + chain, I);
    for (let t0 = 0; t0 < T; t0 += T_BLOCK) {
      const t1 = Math.min(t0 + T_BLOCK, T);
      for (let o = 0; o < O; o += 4) {
        for (let t = t0; t < t1; t += 4) {
          if (o + 4 <= O && t + 4 <= t1) tile(x, w, I, i0, i1, t, o, target);
          else edge(x, w, I, i0, i1, [t, Math.min(t + 4, t1)], [o, Math.min(o + 4, O)], target);
        }
      }
    }
  }
}

// biome-ignore format: a matrix reads as a matrix
function tile(
  x: Float64Array,
  w: Float64Array,
  I: number,
  i0: number,
  i1: number,
  t: number,
  o: number,
  { y, stride, column }: Target,
): void {
  let c00 = 0, c01 = 0, c02 = 0, c03 = 0;
  let c10 = 0, c11 = 0, c12 = 0, c13 = 0;
  let c20 = 0, c21 = 0, c22 = 0, c23 = 0;
  let c30 = 0, c31 = 0, c32 = 0, c33 = 0;
  const x0 = t * I, x1 = x0 + I, x2 = x1 + I, x3 = x2 + I;
  const w0 = o * I, w1 = w0 + I, w2 = w1 + I, w3 = w2 + I;
  for (let i = i0; i < i1; i++) {
    const a0 = x[x0 + i]!, a1 = x[x1 + i]!, a2 = x[x2 + i]!, a3 = x[x3 + i]!;
    const b0 = w[w0 + i]!, b1 = w[w1 + i]!, b2 = w[w2 + i]!, b3 = w[w3 + i]!;
    c00 += a0 * b0; c01 += a0 * b1; c02 += a0 * b2; c03 += a0 * b3;
    c10 += a1 * b0; c11 += a1 * b1; c12 += a1 * b2; c13 += a1 * b3;
    c20 += a2 * b0; c21 += a2 * b1; c22 += a2 * b2; c23 += a2 * b3;
    c30 += a3 * b0; c31 += a3 * b1; c32 += a3 * b2; c33 += a3 * b3;
  }
  const y0 = t * stride + column + o, y1 = y0 + stride, y2 = y1 + stride, y3 = y2 + stride;
  y[y0]! += c00; y[y0 + 1]! += c01; y[y0 + 2]! += c02; y[y0 + 3]! += c03;
  y[y1]! += c10; y[y1 + 1]! += c11; y[y1 + 2]! += c12; y[y1 + 3]! += c13;
  y[y2]! += c20; y[y2 + 1]! += c21; y[y2 + 2]! += c22; y[y2 + 3]! += c23;
  y[y3]! += c30; y[y3 + 1]! += c31; y[y3 + 2]! += c32; y[y3 + 3]! += c33;
}

/** The same for fewer than four rows, as remain at the end of either operand. */
function edge(
  x: Float64Array,
  w: Float64Array,
  I: number,
  i0: number,
  i1: number,
  [tBegin, tEnd]: readonly [number, number],
  [oBegin, oEnd]: readonly [number, number],
  { y, stride, column }: Target,
): void {
  for (let t = tBegin; t < tEnd; t++) {
    for (let o = oBegin; o < oEnd; o++) {
      let sum = 0;
      for (let i = i0; i < i1; i++) sum += x[t * I + i]! * w[o * I + i]!;
      y[t * stride + column + o]! += sum;
    }
  }
}

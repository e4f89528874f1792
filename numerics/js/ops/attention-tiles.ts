// Products and sums of attention. Four queries meet four keys, or four channels, in sixteen accumulators: eight loads for
// thirty-two operations. Each accumulator adds in the order of channels, or of tokens, as one query alone does.
import type { Values } from "../memory.ts";

/** Rows of one head, a token each. */
export interface Rows<V extends Values> {
  readonly rows: V;
  readonly from: number;
  readonly stride: number;
  readonly width: number;
}

/** products[u] = q[t] · k[u]. */
export function productsOfOne<V extends Values>(
  queries: Rows<V>,
  t: number,
  { rows, from, stride, width }: Rows<V>,
  first: number,
  end: number,
  products: Float64Array,
): void {
  const [q, query] = [queries.rows, queries.from + t * queries.stride];
  for (let u = first; u < end; u++) {
    const key = from + u * stride;
    let dot = 0;
    for (let h = 0; h < width; h++) dot += q[query + h]! * rows[key + h]!;
    products[u] = dot;
  }
}

/** Rows of products: those of q[t + i] begin at `i * products.length / 4`. The keys are a whole number of fours. */
export function productsOfFour<V extends Values>(
  { rows: q, from, stride, width }: Rows<V>,
  t: number,
  keys: Rows<V>,
  first: number,
  end: number,
  products: Float64Array,
): void {
  const query = from + t * stride;
  for (let u = first; u < end; u += 4)
    tile(q, query, stride, keys.rows, keys.from + u * keys.stride, keys.stride, width, products, u);
}

// biome-ignore format: a matrix reads as a matrix
function tile<V extends Values>(
  q: V,
  q0: number,
  qStep: number,
  k: V,
  k0: number,
  kStep: number,
  width: number,
  y: Float64Array,
  y0: number,
): void {
  const q1 = q0 + qStep, q2 = q1 + qStep, q3 = q2 + qStep;
  const k1 = k0 + kStep, k2 = k1 + kStep, k3 = k2 + kStep;
  let c00 = 0, c01 = 0, c02 = 0, c03 = 0;
  let c10 = 0, c11 = 0, c12 = 0, c13 = 0;
  let c20 = 0, c21 = 0, c22 = 0, c23 = 0;
  let c30 = 0, c31 = 0, c32 = 0, c33 = 0;
  for (let h = 0; h < width; h++) {
    const a0 = q[q0 + h]!, a1 = q[q1 + h]!, a2 = q[q2 + h]!, a3 = q[q3 + h]!;
    const b0 = k[k0 + h]!, b1 = k[k1 + h]!, b2 = k[k2 + h]!, b3 = k[k3 + h]!;
    c00 += a0 * b0; c01 += a0 * b1; c02 += a0 * b2; c03 += a0 * b3;
    c10 += a1 * b0; c11 += a1 * b1; c12 += a1 * b2; c13 += a1 * b3;
    c20 += a2 * b0; c21 += a2 * b1; c22 += a2 * b2; c23 += a2 * b3;
    c30 += a3 * b0; c31 += a3 * b1; c32 += a3 * b2; c33 += a3 * b3;
  }
  const row = y.length / 4, y1 = y0 + row, y2 = y1 + row, y3 = y2 + row;
  y[y0] = c00; y[y0 + 1] = c01; y[y0 + 2] = c02; y[y0 + 3] = c03;
  y[y1] = c10; y[y1 + 1] = c11; y[y1 + 2] = c12; y[y1 + 3] = c13;
  y[y2] = c20; y[y2 + 1] = c21; y[y2 + 2] = c22; y[y2 + 3] = c23;
  y[y3] = c30; y[y3 + 1] = c31; y[y3 + 2] = c32; y[y3 + 3] = c33;
}

/** results[t, c] += Σᵤ shares[u] v[u, c]. */
export function addMixture<V extends Values>(
  shares: Float64Array,
  { rows, from, stride, width }: Rows<V>,
  first: number,
  end: number,
  results: Rows<V>,
  t: number,
): void {
  const [out, row] = [results.rows, results.from + t * results.stride];
  for (let u = first; u < end; u++) {
    const share = shares[u]!;
    const value = from + u * stride;
    for (let c = 0; c < width; c++) out[row + c]! += share * rows[value + c]!;
  }
}

/** results[t + i, c] += Σᵤ shares[i * T + u] v[u, c], of four queries. */
export function addMixtures<V extends Values>(
  shares: Float64Array,
  T: number,
  { rows, from, stride, width }: Rows<V>,
  first: number,
  end: number,
  results: Rows<V>,
  t: number,
): void {
  const [value, out] = [from + first * stride, results.from + t * results.stride];
  const whole = width - (width % 4);
  for (let c = 0; c < whole; c += 4)
    mixFour(shares, T, rows, value + c, stride, first, end, results.rows, out + c, results.stride);
  for (let c = whole; c < width; c++)
    mixOne(shares, T, rows, value + c, stride, first, end, results.rows, out + c, results.stride);
}

// biome-ignore format: a matrix reads as a matrix
function mixFour<V extends Values>(
  w: Float64Array,
  T: number,
  v: V,
  v0: number,
  vStep: number,
  first: number,
  end: number,
  y: V,
  y0: number,
  yStep: number,
): void {
  const y1 = y0 + yStep, y2 = y1 + yStep, y3 = y2 + yStep;
  const T2 = 2 * T, T3 = 3 * T;
  let c00 = y[y0]!, c01 = y[y0 + 1]!, c02 = y[y0 + 2]!, c03 = y[y0 + 3]!;
  let c10 = y[y1]!, c11 = y[y1 + 1]!, c12 = y[y1 + 2]!, c13 = y[y1 + 3]!;
  let c20 = y[y2]!, c21 = y[y2 + 1]!, c22 = y[y2 + 2]!, c23 = y[y2 + 3]!;
  let c30 = y[y3]!, c31 = y[y3 + 1]!, c32 = y[y3 + 2]!, c33 = y[y3 + 3]!;
  for (let u = first, at = v0; u < end; u++, at += vStep) {
    const a0 = w[u]!, a1 = w[u + T]!, a2 = w[u + T2]!, a3 = w[u + T3]!;
    const b0 = v[at]!, b1 = v[at + 1]!, b2 = v[at + 2]!, b3 = v[at + 3]!;
    c00 += a0 * b0; c01 += a0 * b1; c02 += a0 * b2; c03 += a0 * b3;
    c10 += a1 * b0; c11 += a1 * b1; c12 += a1 * b2; c13 += a1 * b3;
    c20 += a2 * b0; c21 += a2 * b1; c22 += a2 * b2; c23 += a2 * b3;
    c30 += a3 * b0; c31 += a3 * b1; c32 += a3 * b2; c33 += a3 * b3;
  }
  y[y0] = c00; y[y0 + 1] = c01; y[y0 + 2] = c02; y[y0 + 3] = c03;
  y[y1] = c10; y[y1 + 1] = c11; y[y1 + 2] = c12; y[y1 + 3] = c13;
  y[y2] = c20; y[y2 + 1] = c21; y[y2 + 2] = c22; y[y2 + 3] = c23;
  y[y3] = c30; y[y3 + 1] = c31; y[y3 + 2] = c32; y[y3 + 3] = c33;
}

// biome-ignore format: a matrix reads as a matrix
function mixOne<V extends Values>(
  w: Float64Array,
  T: number,
  v: V,
  v0: number,
  vStep: number,
  first: number,
  end: number,
  y: V,
  y0: number,
  yStep: number,
): void {
  const y1 = y0 + yStep, y2 = y1 + yStep, y3 = y2 + yStep;
  const T2 = 2 * T, T3 = 3 * T;
  let c0 = y[y0]!, c1 = y[y1]!, c2 = y[y2]!, c3 = y[y3]!;
  for (let u = first, at = v0; u < end; u++, at += vStep) {
    const b = v[at]!;
    c0 += w[u]! * b; c1 += w[u + T]! * b; c2 += w[u + T2]! * b; c3 += w[u + T3]! * b;
  }
  y[y0] = c0; y[y1] = c1; y[y2] = c2; y[y3] = c3;
}

// The ops of graph.ts on row-major arrays, in f64 arithmetic whatever the arrays hold. Each writes all of `out`.
import type { Pointwise, RopePairs, RopeTable } from "../graph.ts";
import { erf } from "./erf.ts";
import type { Values } from "./memory.ts";

/** out = x · weight / √(mean(x²) + eps), row by row; weights are 1 where there are none. */
export function rmsNorm(x: Values, weight: Values | null, eps: number, channels: number, out: Values): void {
  const D = channels;
  for (let row = 0; row < x.length; row += D) {
    let squares = 0;
    for (let d = 0; d < D; d++) squares += x[row + d]! ** 2;
    const scale = 1 / Math.sqrt(squares / D + eps);
    for (let d = 0; d < D; d++) out[row + d] = x[row + d]! * scale * (weight ? weight[d]! : 1);
  }
}

/** out = weight · (x − mean) / √(mean((x − mean)²) + eps) + bias, row by row. */
export function layerNorm(x: Values, weight: Values, bias: Values, eps: number, out: Values): void {
  const D = weight.length;
  for (let row = 0; row < x.length; row += D) {
    let sum = 0;
    for (let d = 0; d < D; d++) sum += x[row + d]!;
    const mean = sum / D;
    let squares = 0;
    for (let d = 0; d < D; d++) squares += (x[row + d]! - mean) ** 2;
    const scale = 1 / Math.sqrt(squares / D + eps);
    for (let d = 0; d < D; d++) out[row + d] = (x[row + d]! - mean) * scale * weight[d]! + bias[d]!;
  }
}

/** Indices [begin, end) of the middle axis of [outer, size, inner]. */
export function slice(
  x: Values,
  [size, inner]: readonly [number, number],
  [begin, end]: readonly [number, number],
  out: Values,
): void {
  const block = size * inner;
  const [from, to] = [begin * inner, end * inner];
  for (let source = 0, target = 0; source < x.length; source += block, target += to - from) {
    out.set(x.subarray(source + from, source + to), target);
  }
}

/** Rows of `widths[i]` elements of each x, one behind another. */
export function concat(xs: readonly Values[], widths: readonly number[], out: Values): void {
  const total = widths.reduce((sum, n) => sum + n, 0);
  let column = 0;
  for (const [i, x] of xs.entries()) {
    const width = widths[i]!;
    for (let from = 0, to = column; from < x.length; from += width, to += total)
      out.set(x.subarray(from, from + width), to);
    column += width;
  }
}

/** Row-major strides, in elements. */
export const stridesOf = (shape: readonly number[]): number[] =>
  shape.map((_, i) => shape.slice(i + 1).reduce((product, n) => product * n, 1));

/** out[i₀, …] of `shape` = x at Σ iₐ · strides[a]; strides of 0 repeat. */
export function strided(x: Values, shape: readonly number[], strides: readonly number[], out: Values): void {
  const width = shape.at(-1) ?? 1;
  const step = strides.at(-1) ?? 0;
  for (let row = 0, to = 0; to < out.length; row++) {
    let from = offsetOfRow(row, shape, strides);
    for (let i = 0; i < width; i++, from += step) out[to++] = x[from]!;
  }
}

/** Where the row-th row along the last axis begins. */
function offsetOfRow(row: number, shape: readonly number[], strides: readonly number[]): number {
  let offset = 0;
  let rest = row;
  for (let axis = shape.length - 2; axis >= 0; axis--) {
    offset += (rest % shape[axis]!) * strides[axis]!;
    rest = Math.floor(rest / shape[axis]!);
  }
  return offset;
}

/** Strides of b as it is repeated to `shape`. */
export function broadcastStrides(shape: readonly number[], b: readonly number[]): number[] {
  const lead = shape.length - b.length;
  const strides = stridesOf(b);
  return shape.map((_, i) => (i < lead || b[i - lead] === 1 ? 0 : strides[i - lead]!));
}

/** (u, v) → (u cos − v sin, u sin + v cos) on the first 2·table.pairs channels of each head. x is [T, N, H]. */
export function rope(
  x: Values,
  [T, N, H]: readonly [number, number, number],
  table: RopeTable,
  pairs: RopePairs,
  out: Values,
): void {
  out.set(x);
  const half = table.pairs;
  const [stride, partner] = pairs === "adjacent" ? [2, 1] : [1, half];
  for (let t = 0; t < T; t++) {
    for (let n = 0; n < N; n++) {
      const head = (t * N + n) * H;
      for (let i = 0; i < half; i++) {
        const [cos, sin] = [table.cos[t * half + i]!, table.sin[t * half + i]!];
        const [u, v] = [x[head + stride * i]!, x[head + stride * i + partner]!];
        out[head + stride * i] = u * cos - v * sin;
        out[head + stride * i + partner] = u * sin + v * cos;
      }
    }
  }
}

const POINTWISE: Readonly<Record<Pointwise, (x: number) => number>> = {
  silu: (x) => x / (1 + Math.exp(-x)),
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  tanh: Math.tanh,
  exp: Math.exp,
  /** torch gives x itself above its threshold of 20. */
  softplus: (x) => (x > 20 ? x : Math.log1p(Math.exp(x))),
  gelu: (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
  geluTanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
};

export function map(f: Pointwise, x: Values, out: Values): void {
  const apply = POINTWISE[f];
  for (let i = 0; i < x.length; i++) out[i] = apply(x[i]!);
}

export function affine(x: Values, factor: number, offset: number, out: Values): void {
  for (let i = 0; i < x.length; i++) out[i] = factor * x[i]! + offset;
}

/** NaN stays NaN. */
export function clamp(x: Values, low: number, high: number, out: Values): void {
  for (let i = 0; i < x.length; i++) out[i] = Math.min(Math.max(x[i]!, low), high);
}

/** a · b or a + b. */
export function zip(kind: "mul" | "add", a: Values, b: Values, out: Values): void {
  if (kind === "mul") for (let i = 0; i < out.length; i++) out[i] = a[i]! * b[i]!;
  else for (let i = 0; i < out.length; i++) out[i] = a[i]! + b[i]!;
}

/** a · b or a + b, b repeated. */
export function combine(
  kind: "mul" | "add",
  a: Values,
  b: Values,
  { shape, strides }: { readonly shape: readonly number[]; readonly strides: readonly number[] },
  out: Values,
): void {
  const width = shape.at(-1) ?? 1;
  const step = strides.at(-1) ?? 0;
  for (let row = 0, i = 0; i < out.length; row++) {
    let j = offsetOfRow(row, shape, strides);
    const end = i + width;
    if (kind === "mul") for (; i < end; i++, j += step) out[i] = a[i]! * b[j]!;
    else for (; i < end; i++, j += step) out[i] = a[i]! + b[j]!;
  }
}

/** y[t, c] = Σⱼ w[c, j] · x[t − (W − 1) + j, c]. */
export function causalConv(x: Values, weight: Values, channels: number, out: Values): void {
  const width = weight.length / channels;
  for (let at = 0; at < x.length; at++) {
    const c = at % channels;
    let sum = 0;
    for (let j = 0; j < width; j++) {
      const from = at - (width - 1 - j) * channels;
      if (from >= 0) sum += weight[c * width + j]! * x[from]!;
    }
    out[at] = sum;
  }
}

// The ops in f64, one plain loop each, for comparison.
import type { RopeTable } from "../../../numerics/graph.ts";

export type Values = Float32Array | Float64Array;

export function linear(x: Values, w: Values, bias: Values | undefined, rows: number, inputs: number): Float64Array {
  const outputs = w.length / inputs;
  const y = new Float64Array(rows * outputs);
  for (let m = 0; m < rows; m++) {
    for (let n = 0; n < outputs; n++) {
      let sum = 0;
      for (let k = 0; k < inputs; k++) sum += x[m * inputs + k]! * w[n * inputs + k]!;
      y[m * outputs + n] = sum + (bias?.[n] ?? 0);
    }
  }
  return y;
}

/** What f32 hardware without FMA makes of one chain of multiply and add in ascending k. */
export function linearChain(x: Float32Array, w: Float32Array, rows: number, inputs: number): Float32Array {
  const outputs = w.length / inputs;
  const y = new Float32Array(rows * outputs);
  for (let m = 0; m < rows; m++) {
    for (let n = 0; n < outputs; n++) {
      let sum = 0;
      for (let k = 0; k < inputs; k++) sum = Math.fround(sum + Math.fround(x[m * inputs + k]! * w[n * inputs + k]!));
      y[m * outputs + n] = sum;
    }
  }
  return y;
}

export function rmsNorm(x: Values, weight: Values, eps: number): Float64Array {
  const channels = weight.length;
  const y = new Float64Array(x.length);
  for (let begin = 0; begin < x.length; begin += channels) {
    let squares = 0;
    for (let c = 0; c < channels; c++) squares += x[begin + c]! ** 2;
    const scale = 1 / Math.sqrt(squares / channels + eps);
    for (let c = 0; c < channels; c++) y[begin + c] = x[begin + c]! * scale * weight[c]!;
  }
  return y;
}

/** Rotates one pair after the other as complex numbers. */
export function rope(x: Values, heads: number, channels: number, table: RopeTable, isHalf: boolean): Float64Array {
  const y = Float64Array.from(x);
  for (let t = 0; t < table.tokens; t++) {
    for (let n = 0; n < heads; n++) {
      const head = (t * heads + n) * channels;
      for (let i = 0; i < table.pairs; i++) {
        const [a, b] = isHalf ? [head + i, head + i + table.pairs] : [head + 2 * i, head + 2 * i + 1];
        const cos = table.cos[t * table.pairs + i]!;
        const sin = table.sin[t * table.pairs + i]!;
        y[a] = x[a]! * cos - x[b]! * sin;
        y[b] = x[b]! * cos + x[a]! * sin;
      }
    }
  }
  return y;
}

export interface AttentionShape {
  readonly tokens: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly channels: number;
  readonly valueChannels: number;
  readonly scale: number;
  readonly window: number;
}

export function attention(q: Values, k: Values, v: Values, shape: AttentionShape): Float64Array {
  const { tokens, heads, kvHeads, channels, valueChannels, scale, window } = shape;
  const y = new Float64Array(tokens * heads * valueChannels);
  for (let i = 0; i < tokens; i++) {
    for (let n = 0; n < heads; n++) {
      const kv = Math.floor(n / (heads / kvHeads));
      const first = Math.max(0, i - window + 1);
      const scores = Array.from({ length: i + 1 - first }, (_, j) => {
        let sum = 0;
        for (let c = 0; c < channels; c++) {
          sum += q[(i * heads + n) * channels + c]! * k[((first + j) * kvHeads + kv) * channels + c]!;
        }
        return sum * scale;
      });
      const top = Math.max(...scores);
      const weights = scores.map((s) => Math.exp(s - top));
      const total = weights.reduce((a, b) => a + b, 0);
      for (let c = 0; c < valueChannels; c++) {
        let sum = 0;
        for (const [j, p] of weights.entries()) sum += p * v[((first + j) * kvHeads + kv) * valueChannels + c]!;
        y[(i * heads + n) * valueChannels + c] = sum / total;
      }
    }
  }
  return y;
}

/** √(Σ (got − want)² / Σ want²). */
export function relativeRms(got: Values, want: Values): number {
  let difference = 0;
  let size = 0;
  for (let i = 0; i < want.length; i++) {
    difference += (got[i]! - want[i]!) ** 2;
    size += want[i]! ** 2;
  }
  return Math.sqrt(difference / size);
}

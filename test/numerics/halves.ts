// Rows as sums of f16, computed on the host: what numerics/webgpu/kernels/split.ts does on the device.

/** The nearest f16, ties to even; infinite from 65520 on. */
export function toF16(x: number): number {
  if (x === 0 || !Number.isFinite(x)) return x;
  const unit = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(x))), -14) - 10);
  const [down, rest] = [Math.floor(x / unit), x / unit - Math.floor(x / unit)];
  const rounded = (rest > 0.5 || (rest === 0.5 && down % 2 !== 0) ? down + 1 : down) * unit;
  return Math.abs(rounded) < 2 ** 16 ? rounded : Math.sign(x) * Number.POSITIVE_INFINITY;
}

const largestOf = (row: Float32Array): number => row.reduce((largest, x) => Math.max(largest, Math.abs(x)), 0);

export interface SplitRow {
  /** What the row was multiplied by; a power of two. */
  readonly scale: number;
  readonly high: Float64Array;
  /** 2^11 times what `high` leaves. */
  readonly low: Float64Array;
  /** bf16 in one part. */
  readonly one: Float64Array;
}

export function splitRow(row: Float32Array): SplitRow {
  const exponent = Math.floor(Math.log2(largestOf(row) || 1));
  const scale = 2 ** (14 - Math.max(exponent, 15 - 127));
  const high = Float64Array.from(row, (x) => (Math.abs(x * scale) < 2 ** -14 ? 0 : toF16(x * scale)));
  const low = Float64Array.from(row, (x, i) => toF16((x * scale - high[i]!) * 2 ** 11));
  return { scale, high, low, one: Float64Array.from(row, (x) => toF16(x * scale)) };
}

/** Elements of `found`, the row as its parts give it, that are off by more than f32 rounds or 2^-39 of the largest. */
export const offBeyondBounds = (row: Float32Array, found: ArrayLike<number>): number[] =>
  beyond(row, found, 2 ** -23, 2 ** -39);

/** Likewise for bf16 in one part: those not exact from 2^-31 of the largest on, and off by more than 2^-38 of it below. */
export const inexactBf16 = (row: Float32Array, found: ArrayLike<number>): number[] => {
  const largest = largestOf(row);
  const off = beyond(row, found, 0, 2 ** -38);
  return [...off, ...beyond(row, found, 0, 0).filter((i) => Math.abs(row[i]!) >= 2 ** -31 * largest)];
};

function beyond(row: Float32Array, found: ArrayLike<number>, relative: number, ofLargest: number): number[] {
  const least = ofLargest * largestOf(row);
  return [...row.keys()].filter((i) => {
    const error = Math.abs(found[i]! - row[i]!);
    return !(error <= Math.max(relative * Math.abs(row[i]!), least));
  });
}

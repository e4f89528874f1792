// Axes: what range they show, where their ticks are, and how numbers read on them.
import { formatBytes } from "../units.ts";

export interface LogRange {
  readonly low: number;
  readonly high: number;
  readonly ticks: readonly number[];
}

/** A log axis of more decades shows nothing of any. */
const DECADES = 14;
const TICKS = 6;

/** Decades that hold all positive values; what is smaller stands on the lower end. */
export function logRange(values: readonly number[]): LogRange {
  const positive = values.filter((x) => x > 0 && Number.isFinite(x));
  const largest = positive.reduce((a, b) => Math.max(a, b), 0) || 1;
  const smallest = positive.reduce((a, b) => Math.min(a, b), largest);
  const end = Math.ceil(Math.log10(largest) + 0.05);
  const begin = Math.max(end - DECADES, Math.min(end - 1, Math.floor(Math.log10(smallest) - 0.05)));
  const step = Math.ceil((end - begin) / TICKS);
  const ticks = [];
  for (let exponent = begin; exponent <= end; exponent += step) ticks.push(power(exponent));
  return { low: power(begin), high: power(end), ticks };
}

/** `10 ** -8` is 1.0000000000000002e-8 on some engines; what is read is not. */
const power = (exponent: number): number => Number(`1e${exponent}`);

export const powerName = (x: number): string =>
  x >= 0.01 && x < 1e4 ? String(Number(x.toPrecision(3))) : x.toExponential(0).replace("e+", "e");

export function amountName(x: number, as: "share" | "bytes" | "number"): string {
  switch (as) {
    case "share":
      return x > 0 && x < 0.0005 ? "< 0.1 %" : `${Number((100 * x).toPrecision(3))} %`;
    case "bytes":
      return formatBytes(x);
    case "number":
      return x === 0 ? "0" : powerName(Number(x.toPrecision(3)));
    default:
      throw as satisfies never;
  }
}

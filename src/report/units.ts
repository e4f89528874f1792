// Numbers as people read them.

const DECIMAL = ["B", "kB", "MB", "GB", "TB"] as const;

/** Decimal units, as huggingface_hub and disk vendors count: 5 GB = 5·10⁹ bytes. */
export function formatBytes(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 999.5 && unit < DECIMAL.length - 1) {
    value /= 1000;
    unit++;
  }
  return unit === 0
    ? `${Math.round(bytes)} B`
    : `${value >= 99.95 ? value.toFixed(0) : value.toPrecision(3)} ${DECIMAL[unit]}`;
}

export function formatSeconds(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(2)} s`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes} min ${whole % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export const formatCount = (n: number): string => n.toLocaleString("en-US");

export const formatShape = (shape: readonly number[]): string => `[${shape.join(", ")}]`;

export const plural = (n: number, one: string, many = `${one}s`): string => `${formatCount(n)} ${n === 1 ? one : many}`;

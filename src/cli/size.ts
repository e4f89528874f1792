import { UsageError } from "../base/errors.ts";

const UNITS: Readonly<Record<string, number>> = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

/** `5GB` (decimal) or `5GiB` (binary) in bytes. A bare number is wrong usage: 5 of what? */
export function parseSize(text: string, option: string): number {
  const [, digits = "", unit = ""] = /^([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]+)$/.exec(text.trim()) ?? [];
  const bytes = Math.floor(Number(digits) * (UNITS[unit.toLowerCase()] ?? Number.NaN));
  if (digits === "" || !Number.isSafeInteger(bytes) || bytes === 0) {
    throw new UsageError("SIZE_MALFORMED", `--${option} ${text}: not a size`, {
      expected: "a positive number with a unit, such as 5GB or 5GiB",
      found: text,
      help: `write --${option} 5GB (decimal) or --${option} 5GiB (binary)`,
    });
  }
  return bytes;
}

import { UsageError } from "../base/errors.ts";
import type { PartNumber } from "../output/parts/place.ts";

/** `3/16`; which parts there are is for the work at hand to say. Throws UsageError PART_MALFORMED. */
export function partNumber(text: string): PartNumber {
  const [, number, of] = /^([0-9]+)\/([0-9]+)$/.exec(text.trim()) ?? [];
  if (number !== undefined && of !== undefined) return { number: Number(number), of: Number(of) };
  throw new UsageError("PART_MALFORMED", `--part ${text}: names no part`, {
    expected: "i/n, where the first part is 1/n and the last n/n",
    found: text,
    help: "write --part 1/3, for the first of three parts",
  });
}

// Which part of a tensor differs, in words.
import type { Occupied } from "./evidence/measure.ts";
import type { TensorPair } from "./pair.ts";

export interface Where {
  readonly where: string;
  readonly different: number;
}

const SHOWN = 4;

export function whereOf(pair: TensorPair): Where {
  const { different, of, all, outer, inner } = pair.measured;
  const elements = `${different} of ${of} elements differ${all ? "" : ", of those looked at"}`;
  const parts = partsOf(pair, outer, inner);
  return { different, where: parts === null ? elements : `${elements}, ${parts}` };
}

function partsOf({ shape, key }: TensorPair, outer: Occupied, inner: Occupied): string | null {
  if (shape.length < 2) return outer.indices.length < outer.of ? `those ${at(outer)}` : null;
  const first = shape.length === 2 ? "rows" : /expert/.test(key) ? "experts" : "slices of the first axis";
  if (outer.indices.length < outer.of) return `in ${outer.indices.length} of ${outer.of} ${first}: ${at(outer)}`;
  if (inner.indices.length < inner.of) return `in ${inner.indices.length} of ${inner.of} columns: ${at(inner)}`;
  return null;
}

/** "3, 5 and 7", "4 to 9", "0, 4, 8, 12 and 20 more" */
function at({ indices }: Occupied): string {
  const [first, last] = [indices[0]!, indices.at(-1)!];
  if (indices.length > 2 && last - first === indices.length - 1) return `${first} to ${last}`;
  const shown = indices.slice(0, SHOWN).join(", ");
  return indices.length > SHOWN ? `${shown} and ${indices.length - SHOWN} more` : shown;
}

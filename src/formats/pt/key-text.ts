// A key of a dict as Python's str() gives it, which is what torch's own flattening takes for a name.
import { isTuple, kindOf, type PickleValue } from "../pickle/value.ts";

export const keyText = (key: PickleValue): string => (typeof key === "string" ? key : repr(key, 0));

/** Tuples beyond these are told by their kind: a pickle may nest and repeat them without end. */
const MOST_LEVELS = 4;
const MOST_ITEMS = 16;

function repr(value: PickleValue, level: number): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "number" || typeof value === "bigint") return `${value}`;
  if (typeof value === "string") return value.includes("'") ? JSON.stringify(value) : `'${value}'`;
  if (!isTuple(value) || level === MOST_LEVELS || value.length > MOST_ITEMS) return `<${kindOf(value)}>`;
  const items = value.map((item) => repr(item, level + 1)).join(", ");
  return value.length === 1 ? `(${items},)` : `(${items})`;
}

// Keys with axes in them: `layers.{l}.experts.{e}.w1`, `mtp.{m+L}.norm`.
import { tableError } from "./dims.ts";

export interface KeyPattern {
  readonly text: string;
  /** One more than there are axes. */
  readonly literals: readonly string[];
  readonly axes: readonly string[];
  /** Added to the index of each axis. */
  readonly shifts: readonly number[];
}

const PLACE = /\{(\w+)(?:([+-])(\w+))?\}/g;

/** `sizeOf` gives the size of an axis that shifts another one. Throws InputError TABLE_INVALID. */
export function parseKey(text: string, sizeOf: (axis: string) => number): KeyPattern {
  const places = [...text.matchAll(PLACE)];
  const axes = axesOf(text);
  if (/[{}]/.test(text.replaceAll(PLACE, ""))) throw tableError(`key "${text}": a brace does not enclose an axis`);
  if (new Set(axes).size < axes.length) throw tableError(`key "${text}": an axis comes twice`);
  const shifts = places.map(([, , sign, by]) => {
    if (by === undefined) return 0;
    const size = /^\d+$/.test(by) ? Number(by) : sizeOf(by);
    return sign === "-" ? -size : size;
  });
  return { text, literals: text.replaceAll(PLACE, "\0").split("\0"), axes, shifts };
}

/** The key at the given indices, one an axis of the pattern. */
export function fillKey(pattern: KeyPattern, indices: readonly number[]): string {
  let key = pattern.literals[0]!;
  for (let i = 0; i < indices.length; i++) {
    const index = indices[i]! + pattern.shifts[i]!;
    if (index < 0) throw tableError(`key "${pattern.text}": index ${index} of axis "${pattern.axes[i]}" is negative`);
    key += index + pattern.literals[i + 1]!;
  }
  return key;
}

/** The axes of a key. */
export const axesOf = (text: string): string[] => [...text.matchAll(PLACE)].map(([, axis]) => axis!);

/** A key or pattern with every index replaced by `#`, so that keys of one kind become equal. */
export const abstractKey = (key: string): string => key.replaceAll(PLACE, "#").replaceAll(/(?<=^|\.)\d+(?=\.|$)/g, "#");

/** A key with another axis in place of one. */
export const withAxis = (text: string, axis: string, other: string): string =>
  text.replaceAll(PLACE, (place, name: string) => (name === axis ? place.replace(axis, other) : place));

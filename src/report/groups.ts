// Tensors whose keys differ in numbers alone, told as one: a model has hundreds of thousands of them, of a hundred kinds.
import { formatCount } from "./units.ts";

export interface Group<T> {
  /** Key of the only member, or theirs with their numbers: `layers.{0–47}.mlp.experts.{0–127}.up_proj`. */
  readonly name: string;
  readonly members: readonly T[];
}

/** How a report lists what is there for each tensor. */
export interface ListStyle {
  /** Each by itself. */
  readonly all?: boolean | undefined;
}

/** Rows of a table of groups: of more kinds than this there is no pattern that a person could see. */
export const MOST_GROUPS = 5_000;

/** Numbers between dots. What has more digits is no index. */
const NUMBER = /(?<=^|\.)(?:0|[1-9]\d{0,8})(?=\.|$)/g;

/** @param likeness what members of one group have in common beside the pattern of their keys */
export function groupedBy<T>(
  items: Iterable<T>,
  keysOf: (item: T) => string,
  likeness: (item: T) => string,
  { all = false }: ListStyle = {},
): Group<T>[] {
  if (all) return Array.from(items, (item) => ({ name: keysOf(item), members: [item] }));
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const id = `${likeness(item)}\n${keysOf(item).replace(NUMBER, "#")}`;
    const members = groups.get(id);
    if (members === undefined) groups.set(id, [item]);
    else members.push(item);
  }
  return Array.from(groups.values(), (members) => ({ name: patternOf(members, keysOf), members }));
}

/** The keys of all of them in one: numbers that differ as ranges. */
export function patternOf<T>(members: readonly T[], keyOf: (member: T) => string): string {
  const first = keyOf(members[0]!);
  if (members.length === 1) return first;
  const seen = Array.from(first.match(NUMBER) ?? [], () => new Set<number>());
  for (const member of members) {
    const numbers = keyOf(member).match(NUMBER) ?? [];
    for (const [i, number] of numbers.entries()) seen[i]!.add(Number(number));
  }
  let at = 0;
  return first.replace(NUMBER, () => rangesOf(seen[at++]!));
}

/** Runs that are spelled out; the rest is told by the last number. */
const MOST_RUNS = 6;

/** `7`, `{0–47}`, `{0–2,5,8–11}`. */
function rangesOf(numbers: ReadonlySet<number>): string {
  const sorted = [...numbers].sort((a, b) => a - b);
  if (sorted.length === 1) return `${sorted[0]}`;
  const runs: [number, number][] = [];
  for (const number of sorted) {
    const last = runs.at(-1);
    if (last !== undefined && last[1] === number - 1) last[1] = number;
    else runs.push([number, number]);
  }
  const texts = runs.map(([begin, end]) => (begin === end ? `${begin}` : `${begin}–${end}`));
  const shown = texts.length <= MOST_RUNS ? texts : [...texts.slice(0, MOST_RUNS - 1), "…", texts.at(-1)!];
  return `{${shown.join(",")}}`;
}

/** Empty for one: what is not many needs no number. */
export const countOf = ({ members }: Group<unknown>): string => (members.length > 1 ? formatCount(members.length) : "");

/** Whether any stands for several: else there is nothing to count. */
export const hasMany = (groups: readonly Group<unknown>[]): boolean => groups.some(({ members }) => members.length > 1);

/** What tells how to see the members of groups, where there are any. */
export const groupNotes = (groups: readonly Group<unknown>[]): string[] =>
  hasMany(groups)
    ? ["tensors whose keys differ in numbers alone stand in one line; --all lists each, and so does --json"]
    : [];

// What was done to many tensors, said once: a layer that holds another one, experts in another order, a role in all layers.
import { textOrder } from "./evidence/order.ts";
import type { WeightFault } from "./weights.ts";

export interface Statement {
  readonly code: string;
  /** Keys, in the order of the faults. */
  readonly tensors: readonly string[];
  /** A sentence. */
  readonly explanation: string;
  /** Which tensors are so, by patterns of their keys. */
  readonly evidence: string;
  readonly fix: string;
}

/** What happens to whole models, and says least of a single tensor. */
const GENERAL: ReadonlySet<string> = new Set(["ROUNDED", "TRUNCATED", "LAST_PLACE", "STALE_WEIGHTS", "WEIGHTS_DIFFER"]);

/**
 * In the order of their first tensors, those that happen to whole models behind the others.
 * @param total tensors that both models have
 */
export function statements(faults: readonly WeightFault[], total = 0): Statement[] {
  const groups = new Map<string, WeightFault[]>();
  for (const fault of faults) {
    const name = `${fault.code} ${groupOf(fault)}`;
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [fault]);
    else group.push(fault);
  }
  const said = [...groups.values()].map((group) => statementOf(group, total));
  return [...said.filter(({ code }) => !GENERAL.has(code)), ...said.filter(({ code }) => GENERAL.has(code))];
}

function statementOf(group: readonly WeightFault[], total: number): Statement {
  const [first] = group;
  const tensors = group.map(({ key }) => key);
  return {
    code: first!.code,
    tensors,
    explanation: together(group) ?? sentenceOf(group, total),
    evidence: placesOf(tensors),
    fix: first!.mend,
  };
}

function sentenceOf([first, ...more]: readonly WeightFault[], total: number): string {
  const sentence = `"${first!.key}" ${first!.words}`;
  return more.length > 0 && more.length + 1 === total ? `all ${total} tensors are so: ${sentence}` : sentence;
}

/** How a tensor's key and that of its owner differ, where that is in one number: of a layer, of an expert. */
interface Shift {
  /** What is numbered: `layers`, and where: `model`. */
  readonly axis: string;
  readonly stem: string;
  readonly from: number;
  readonly to: number;
}

const isNumber = (word: string | undefined): boolean => word !== undefined && /^\d+$/.test(word);

function shiftOf({ key, owner }: WeightFault): Shift | null {
  if (owner === null) return null;
  const [words, others] = [key.split("."), owner.split(".")];
  const at = words.flatMap((word, i) => (word === others[i] ? [] : [i]));
  const [i] = at;
  if (words.length !== others.length || at.length !== 1 || !isNumber(words[i!]) || !isNumber(others[i!])) return null;
  return {
    axis: words[i! - 1] ?? "parts",
    stem: words.slice(0, Math.max(0, i! - 1)).join("."),
    from: Number(words[i!]),
    to: Number(others[i!]),
  };
}

const patternOf = (key: string): string =>
  key
    .split(".")
    .map((word) => (isNumber(word) ? "*" : word))
    .join(".");

/** Faults of one group are one statement. */
function groupOf(fault: WeightFault): string {
  const { key, owner } = fault;
  if (owner === null) return "";
  const shift = shiftOf(fault);
  return shift === null
    ? [key, owner].map(patternOf).toSorted().join(" ")
    : `${shift.axis} of ${patternOf(shift.stem)}`;
}

/** Null where the words of the first tensor say all. */
function together(group: readonly WeightFault[]): string | null {
  const [first, ...more] = group;
  const shift = shiftOf(first!);
  if (more.length === 0 || first!.owner === null) return null;
  if (shift === null) {
    const places = new Set(group.map(({ key }) => patternOf(key)));
    if (group.length <= places.size) return null;
    return `"${patternOf(first!.key)}" holds what belongs to "${patternOf(first!.owner)}", in ${group.length} places`;
  }
  return movedTogether(group, shift);
}

const SHOWN = 6;

function movedTogether(group: readonly WeightFault[], { axis, stem }: Shift): string {
  const to = new Map<number, number>();
  for (const fault of group) {
    const shift = shiftOf(fault)!;
    to.set(shift.from, shift.to);
  }
  const pairs = [...to].toSorted(([a], [b]) => a - b);
  const [from, holds] = pairs[0]!;
  const at = stem === "" ? "" : `${stem}.`;
  if (pairs.length === 1) {
    return `"${at}${axis}.${from}" holds what belongs to "${at}${axis}.${holds}": ${group.length} tensors of it`;
  }
  const shown = pairs.slice(0, SHOWN).map(([one, other]) => `${one} holds ${other}`);
  const more = pairs.length > SHOWN ? ` and ${pairs.length - SHOWN} more` : "";
  const text = isAsText(to) ? ", as names sorted as text are" : "";
  return `"${at}${axis}" hold what belongs to others of them: ${shown.join(", ")}${more}${text}`;
}

/** Whether numbers up to some count, sorted as text, move just these. */
function isAsText(to: ReadonlyMap<number, number>): boolean {
  const largest = Math.max(...to.keys(), ...to.values());
  return [largest + 1, largest + 2, largest + 3].some((count) => {
    const order = textOrder(count);
    return order.every((from, at) => (to.get(at) ?? at) === from);
  });
}

function placesOf(tensors: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const key of tensors) counts.set(patternOf(key), (counts.get(patternOf(key)) ?? 0) + 1);
  const shown = [...counts]
    .slice(0, SHOWN)
    .map(([pattern, count]) => (count === 1 ? pattern : `${pattern} (${count})`));
  const more = counts.size > SHOWN ? ` and ${counts.size - SHOWN} more kinds` : "";
  return `${tensors.length} ${tensors.length === 1 ? "tensor is" : "tensors are"} so: ${shown.join(", ")}${more}`;
}

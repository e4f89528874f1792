// Keys that change only their name, or are refused: what a pattern with `{key}` in it matches.
import { tableError } from "./dims/dims.ts";
import type { PassThroughException, PassThroughRule, RefuseRule, Rule, Side } from "./rule.ts";

/** What a key is under a pattern: the text for `{key}`, and the index for the pattern's axis if it has one. */
interface Passed {
  readonly rest: string;
  readonly index: number | null;
}

/** Axis of a required tensor that is nowhere in the source: it cannot but be missing. */
export const UNKNOWN_SIZE = "size_unknown";

const AXIS = /\{(?!key\})(\w+)\}/;

/** The axis of a pattern, as of `layers.{l}.{key}`. */
export const axisOf = (rule: PassThroughRule): string | undefined => AXIS.exec(rule.native)?.[1];

/** Throws InputError TABLE_INVALID unless both patterns have `{key}` once, and the same axis or none. */
export function checkedPassThrough(rule: PassThroughRule): PassThroughRule {
  for (const pattern of [rule.native, rule.hf]) {
    if (pattern.split("{key}").length !== 2) throw tableError(`passThrough "${pattern}": "{key}" must come once`);
    if (/[{}]/.test(pattern.replace("{key}", "").replace(AXIS, "")))
      throw tableError(`passThrough "${pattern}": it may hold one axis beside "{key}"`);
  }
  if (AXIS.exec(rule.hf)?.[1] !== axisOf(rule))
    throw tableError(`passThrough "${rule.native}": "${rule.hf}" has another axis`);
  return rule;
}

/** Throws InputError TABLE_INVALID unless the pattern has `{key}` once and no axis. */
export function checkedRefusal(rule: RefuseRule): RefuseRule {
  if (rule.keys.split("{key}").length === 2 && !/[{}]/.test(rule.keys.replace("{key}", ""))) return rule;
  throw tableError(`refuse "${rule.keys}": "{key}" must come once, and no axis`);
}

/** The rule that refuses a key of a side. */
export const refusalOf = (rules: readonly Rule[], side: Side, key: string): RefuseRule | undefined =>
  rules.find((rule): rule is RefuseRule => isRefusal(rule, side) && passed(rule.keys, key) !== undefined);

const isRefusal = (rule: Rule, side: Side): rule is RefuseRule => rule.kind === "refuse" && rule.side === side;

/** By text and index: as many as rules have patterns, each asked about every key. */
const PATTERNS = new Map<string, RegExp>();

function patternOf(text: string, index: string): RegExp {
  const name = `${index} ${text}`;
  const known = PATTERNS.get(name) ?? compiled(text, index);
  PATTERNS.set(name, known);
  return known;
}

function compiled(text: string, index: string): RegExp {
  const escaped = text.split(/(\{\w+\})/).map((part) => {
    if (part === "{key}") return "(?<rest>.+)";
    return AXIS.test(part) ? `(?<index>${index})` : part.replaceAll(/[.*+?^$|()[\]\\]/g, String.raw`\$&`);
  });
  return new RegExp(`^${escaped.join("")}$`, "s");
}

export function passed(pattern: string, key: string): Passed | undefined {
  const { rest, index } = patternOf(pattern, String.raw`0|[1-9]\d*`).exec(key)?.groups ?? {};
  return rest === undefined ? undefined : { rest, index: index === undefined ? null : Number(index) };
}

/** Whether keys of a kind, as `abstractKey` writes it, fit a pattern. */
export const passesKind = (pattern: string, kind: string): boolean => patternOf(pattern, "#").test(kind);

/** Why a key does not pass although it fits a pattern. */
export const exceptionOf = (rules: readonly PassThroughRule[], key: string): PassThroughException | undefined =>
  rules.flatMap(({ except = [] }) => except).find(({ keys }) => keys.test(key));

/**
 * The key on the other side; undefined where no pattern fits or an exception does. What fits a pattern with an axis is
 * taken by the rules that `writtenOut` makes, or by none.
 */
export function passThroughTarget(rules: readonly PassThroughRule[], side: Side, key: string): string | undefined {
  const fitting = rules.find((rule) => passed(rule[side], key) !== undefined);
  if (fitting === undefined || axisOf(fitting) !== undefined || exceptionOf(rules, key) !== undefined) return undefined;
  const { rest } = passed(fitting[side], key)!;
  return fitting[side === "native" ? "hf" : "native"].replace("{key}", () => rest);
}

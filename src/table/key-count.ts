// How many keys a table has before it is expanded. A wrong number in a config must not decide over time and memory: the
// files do.
import { elementCount } from "../base/dtype.ts";
import { InputError } from "../base/errors.ts";
import type { Axes } from "./dims/axes.ts";
import { axesOf } from "./dims/key-pattern.ts";
import type { Source } from "./request.ts";
import type { Rule } from "./rule.ts";

/** Of both sides together; expanded within a second. The largest published models have 70,000 (384 experts in 60 layers). */
const ALWAYS = 150_000;

/** A complete checkpoint has the keys of one side, under one of their spellings each. */
const KEYS_PER_TENSOR = 4;

/**
 * A native tensor may stack the experts that are a key each in HF, and files may be a small part of a checkpoint. So the
 * elements count too: published models have from 100,000 a key on.
 */
const ELEMENTS_PER_KEY = 4096;

/** What elements alone allow: shapes of views may be larger than their files. */
const BY_ELEMENTS = 1_000_000;

/** Keys that a rule has in all, and the pattern with most of them. */
interface KeyCount {
  readonly pattern: string;
  readonly keys: number;
}

/**
 * Throws InputError CONFIG_TOO_LARGE, naming the axes, for a table with far more keys than the tensors at hand can be a
 * part of. Fewer tensors than keys are no fault here: `check` lists each that is missing.
 */
export function checkKeyCount(rules: readonly Rule[], axes: Axes, source: Source): void {
  const counts = rules.flatMap((rule) => patternsOf(rule).map((pattern) => ({ pattern, keys: keysOf(pattern, axes) })));
  const keys = counts.reduce((sum, count) => sum + count.keys, 0);
  if (keys <= mostKeys(source)) return;
  const most = counts.reduce((a, b) => (b.keys > a.keys ? b : a));
  throw tooLarge(most, keys, axes, source);
}

/** Every key of a rule that is expanded, spellings too. */
function patternsOf(rule: Rule): readonly string[] {
  switch (rule.kind) {
    case "map":
      return [...rule.native, ...rule.hf].flatMap(({ key, spellings = [] }) => [key, ...spellings]);
    case "tie":
      return [rule.alias];
    case "drop":
      return [rule.key];
    case "passThrough":
      return [rule.native, rule.hf].flatMap((pattern) => [pattern, ...(rule.required ?? []).map(() => pattern)]);
    case "prefix":
    case "refuse":
      return [];
    default:
      throw rule satisfies never;
  }
}

/** An axis without a size counts as one: the compiler refuses it by name. */
const sizeOf = (axes: Axes, axis: string): number => {
  const size = axes[axis] ?? 1;
  return typeof size === "number" ? size : size.length;
};

const keysOf = (pattern: string, axes: Axes): number =>
  axesOf(pattern).reduce((product, axis) => product * sizeOf(axes, axis), 1);

function mostKeys(source: Source): number {
  let elements = 0;
  for (const { shape } of source.values()) elements += shape.includes(0) ? 0 : elementCount(shape);
  const byElements = Math.min(elements / ELEMENTS_PER_KEY, BY_ELEMENTS);
  return Math.max(ALWAYS, KEYS_PER_TENSOR * source.size, byElements);
}

function tooLarge({ pattern, keys }: KeyCount, all: number, axes: Axes, { size }: Source): InputError {
  const sizes = axesOf(pattern).filter((axis) => axis in axes);
  const found = `${sizes.map((axis) => `${axis} = ${sizeOf(axes, axis)}`).join(", ")} in "${pattern}"`;
  const has = `${size} tensor${size === 1 ? "" : "s"}`;
  return new InputError(
    "CONFIG_TOO_LARGE",
    `the config describes ${all} keys of both layouts, ${keys} of them "${pattern}"`,
    {
      tensor: pattern,
      expected: `sizes of a model that the checkpoint's ${has} can belong to`,
      found,
      help: "the config belongs to another checkpoint, or one of its numbers is wrong: give the right one with --config",
    },
  );
}

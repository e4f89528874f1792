// Where the pattern of a `passThrough` holds an axis, one rule is made for each kind of tensor that passes. So a tensor
// that is missing, misshapen or superfluous at some index shows.

import type { CompiledSide } from "./compile.ts";
import type { Axes } from "./dims/axes.ts";
import { tableError } from "./dims/dims.ts";
import { axisOf, exceptionOf, passed, UNKNOWN_SIZE } from "./pass-through.ts";
import type { Source } from "./request.ts";
import { findSlot } from "./resolve.ts";
import { map, type PassThroughRule, type Rule, type Side, type Terms } from "./rule.ts";

export interface WrittenOut {
  readonly rules: readonly Rule[];
  readonly axes: Axes;
}

/**
 * Rules for what passes over an axis: a kind of tensor that is required, or that the source has at half of the indices
 * or more, has to be at every one, with the shape that it has at most of them.
 * @param side where the source's keys are
 * @param own the side without these rules: what it claims does not pass
 */
export function writtenOut(
  rules: readonly Rule[],
  axes: Axes,
  side: Side,
  own: CompiledSide,
  source: Source,
): WrittenOut {
  const sizes: Record<string, number> = {};
  const passing = rules.filter((rule) => rule.kind === "passThrough");
  const free = [...source.keys()].filter(
    (key) => findSlot(own, key) === undefined && exceptionOf(passing, key) === undefined && !/[{}]/.test(key),
  );
  const written = rules.flatMap((rule): readonly Rule[] => {
    const axis = rule.kind === "passThrough" ? axisOf(rule) : undefined;
    if (rule.kind !== "passThrough" || axis === undefined) return [rule];
    const indices = indicesOf(axes, axis);
    const kinds = kindsAt(rule[side], free, source, indices);
    const required = new Set(rule.required);
    const common = [...kinds].filter(([rest, shapes]) => required.has(rest) || 2 * shapes.length >= indices.size);
    const absent = [...required].filter((rest) => !kinds.has(rest));
    const renames = [
      ...common.map(([rest, shapes]) => renameOf(rule, rest, commonest(shapes), sizes)),
      ...absent.map((rest) => map("passThrough", named(rule.native, rest), named(rule.hf, rest))),
    ];
    return [...renames, rule];
  });
  return { rules: written, axes: { [UNKNOWN_SIZE]: 0, ...sizes, ...axes } };
}

function indicesOf(axes: Axes, axis: string): ReadonlySet<number> {
  const size = axes[axis];
  if (size === undefined) throw tableError(`axis "${axis}" has no size`, "name it in the family's axes()");
  return new Set(typeof size === "number" ? Array.from({ length: size }, (_, i) => i) : size);
}

type Shape = readonly number[];

/** Shapes of each kind of tensor, one an index. */
function kindsAt(pattern: string, keys: readonly string[], source: Source, indices: ReadonlySet<number>) {
  const kinds = new Map<string, Shape[]>();
  for (const key of keys) {
    const { rest = "", index = null } = passed(pattern, key) ?? {};
    if (index === null || !indices.has(index)) continue;
    const shapes = kinds.get(rest) ?? [];
    shapes.push(source.get(key)!.shape);
    kinds.set(rest, shapes);
  }
  return kinds;
}

const named = (pattern: string, rest: string, dims = UNKNOWN_SIZE): Terms => ({
  [pattern.replace("{key}", () => rest)]: dims,
});

/** The shape that comes most often, the first of equals. */
function commonest(shapes: readonly Shape[]): Shape {
  const counts = new Map<string, number>();
  for (const shape of shapes) counts.set(shape.join(), (counts.get(shape.join()) ?? 0) + 1);
  const most = [...counts.values()].reduce((a, b) => Math.max(a, b), 0);
  return shapes.find((shape) => counts.get(shape.join()) === most)!;
}

function renameOf({ native, hf }: PassThroughRule, rest: string, shape: Shape, sizes: Record<string, number>): Rule {
  const names = shape.map((size, i) => `dim${i}_${size}`);
  for (const [i, name] of names.entries()) sizes[name] = shape[i]!;
  const dims = names.join(" ") || ".";
  return map("passThrough", named(native, rest, dims), named(hf, rest, dims));
}

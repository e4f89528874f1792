// Casts that would lose more than digits end a conversion.
import { InputError } from "../../base/errors.ts";
import type { CastStats } from "../../views/cast.ts";

/** Throws InputError CAST_OVERFLOW. Before what is written counts as done: a continued run does not see it again. */
export function refuseOverflow(key: string, { overflows }: CastStats): void {
  if (overflows === 0) return;
  throw new InputError("CAST_OVERFLOW", `"${key}": ${overflows} finite values would become infinite`, {
    tensor: key,
    expected: "values within the range of the type asked for",
    found: `${overflows} beyond it`,
    help: keepHelp(key),
  });
}

/** Throws InputError CAST_UNDERFLOW. A part of a tensor may vanish; all of it is seen with the last part. */
export function refuseVanished(key: string, { elements, vanished, remains }: CastStats, ofElements: number): void {
  if (elements < ofElements || vanished === 0 || remains) return;
  throw new InputError("CAST_UNDERFLOW", `"${key}": all of its values would become zero`, {
    tensor: key,
    expected: "values within the range of the type asked for",
    found: `${vanished} below it, no other than zeros beside`,
    help: keepHelp(key),
  });
}

const keepHelp = (key: string): string =>
  `cast to bf16, which has the range of f32, or keep this tensor with --dtype '${key}=keep'`;

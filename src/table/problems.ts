// What is wrong between a checkpoint and a table, in words: the first tensor at fault, how many more, and the way out.
import { InputError } from "../base/errors.ts";
import { nearestKey } from "../base/near.ts";
import type { Compiled, CompiledSide, MapSlot } from "./compile.ts";
import { abstractKey } from "./dims/key-pattern.ts";
import { exceptionOf, refusalOf, UNKNOWN_SIZE } from "./pass-through.ts";
import { findSlot } from "./resolve.ts";
import type { PassThroughException, Side } from "./rule.ts";
import { layoutOf } from "./terms.ts";

const NAMES_SHOWN = 3;

const quote = (key: string): string => `"${key}"`;

/** `; and 5 more: "a", "b", "c", …` */
function andMore(keys: readonly string[]): string {
  if (keys.length < 2) return "";
  const names = keys.slice(1, 1 + NAMES_SHOWN).map(quote);
  const rest = keys.length - 1 > NAMES_SHOWN ? ", …" : "";
  return `; and ${keys.length - 1} more: ${names.join(", ")}${rest}`;
}

export function missingTensors(missing: readonly MapSlot[], unknown: readonly string[], own: CompiledSide): InputError {
  const first = missing[0]!;
  const layout = layoutOf(first.term, "");
  const near = nearestKey(first.key, unknown);
  const found = near ?? unknown[0];
  const help =
    near !== undefined
      ? `the checkpoint has ${quote(near)}, which no rule knows: is it meant?`
      : found !== undefined
        ? `the checkpoint has tensors that no rule knows, such as ${quote(found)}: name its layout or family with --layout, --family`
        : "the checkpoint is incomplete, or its config describes another model";
  const others = [...own.byKey].flatMap(([key, slot]) => (slot === first && key !== first.key ? [quote(key)] : []));
  const spelled = others.length === 0 ? "" : ` (or ${others.join(", ")})`;
  const expected = layout.words === `[${UNKNOWN_SIZE}]` ? "it at every index" : `[${layout.shape}] = ${layout.words}`;
  return new InputError(
    "MISSING_TENSOR",
    `${quote(first.key)}${spelled} is missing: expected ${expected}${andMore(missing.map((slot) => slot.key))}`,
    { tensor: first.key, expected, found: "no such tensor", help },
  );
}

/** @param missing the tower's tensors; `all` counts those of the rest of the model, too */
export function missingTower(tower: string, missing: readonly MapSlot[], all: number): InputError {
  const first = missing[0]!;
  const others = all === missing.length ? "" : `; and ${all - missing.length} tensors of the rest are missing`;
  return new InputError(
    "MISSING_TOWER",
    `the ${tower} is absent as a whole: ${missing.length} tensors, from ${quote(first.key)} on${others}`,
    {
      tensor: first.key,
      expected: `the ${tower}, as the config describes it`,
      found: `no tensor of it`,
      help: "this is an export of the rest of the model: take the whole checkpoint, or the config of a model without that part",
    },
  );
}

export function unknownTensors(
  unknown: readonly string[],
  side: Side,
  own: CompiledSide,
  other: CompiledSide,
  { passThrough, refused }: Pick<Compiled, "passThrough" | "refused">,
): InputError {
  for (const key of unknown) {
    const why = refusalOf(refused, side, key) ?? exceptionOf(passThrough, key);
    if (why !== undefined) return refusedTensor(key, why, unknown);
  }
  const first = unknown[0]!;
  return new InputError("UNKNOWN_TENSOR", `no rule for ${quote(first)}${andMore(unknown)}`, {
    tensor: first,
    expected: "tensors that the family's table knows",
    found: first,
    help: `${unknownHelp(first, own, other)}; --allow-drop leaves it out`,
  });
}

function refusedTensor(
  key: string,
  { reason, help }: Pick<PassThroughException, "reason" | "help">,
  unknown: readonly string[],
): InputError {
  const others = unknown.filter((other) => other !== key);
  return new InputError("UNKNOWN_TENSOR", `no rule for ${quote(key)}: it ${reason}${andMore([key, ...others])}`, {
    tensor: key,
    expected: "tensors that both sides have a place for",
    found: key,
    help,
  });
}

function unknownHelp(key: string, own: CompiledSide, other: CompiledSide): string {
  if (findSlot(other, key) !== undefined)
    return "this is how the other side of the conversion spells it: was it renamed before?";
  const near = nearestKey(key, own.byKey.keys());
  if (near !== undefined) return `the nearest known key is ${quote(near)}`;
  const kind = abstractKey(key);
  for (const known of own.byKey.keys()) {
    if (abstractKey(known) === kind)
      return `the config has such tensors only at other indices, such as ${quote(known)}: does it belong to this checkpoint?`;
  }
  return "name the family with --family if it was not recognised";
}

export function twoSpellings(twice: readonly (readonly [string, string])[]): InputError {
  const [a, b] = twice[0]!;
  return new InputError("TWO_SPELLINGS", `${quote(a)} and ${quote(b)} are two spellings of one tensor`, {
    tensor: b,
    help: "leave one of them out of the checkpoint",
  });
}

export interface Mismatch {
  readonly key: string;
  readonly expected: readonly (number | null)[];
  readonly words: string;
  readonly found: readonly number[];
}

export function shapeMismatch(mismatches: readonly Mismatch[]): InputError {
  const { key, expected, words, found } = mismatches[0]!;
  const shape = `[${expected.map((size) => size ?? "?")}]`;
  const more = andMore(mismatches.map((mismatch) => mismatch.key));
  return new InputError("SHAPE_MISMATCH", `${quote(key)}: expected ${shape} = ${words}, got [${found}]${more}`, {
    tensor: key,
    expected: shape,
    found: `[${found}]`,
    help: "the config's sizes and the tensor disagree: give the config that belongs to this checkpoint (--config), or repair the tensor",
  });
}

export function mixedDtypes(target: string, a: readonly [string, string], b: readonly [string, string]): InputError {
  return new InputError(
    "MIXED_DTYPES",
    `${quote(target)} would be made of ${quote(a[0])} in ${a[1]} and ${quote(b[0])} in ${b[1]}`,
    { tensor: b[0], expected: a[1], found: b[1], help: "cast them to one type with --dtype" },
  );
}

export function keyCollision(key: string, sources: readonly string[]): InputError {
  return new InputError("KEY_COLLISION", `${sources.map(quote).join(" and ")} would both become ${quote(key)}`, {
    tensor: key,
    help: "rename one of them in the checkpoint",
  });
}

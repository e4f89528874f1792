// What two checkpoints are to each other, by the types of their tensors: it says what has to be equal, and to what.
import { FRACTION_BITS, isFloat } from "../base/floats.ts";
import { type CastTypes, castTypes, castWords } from "../views/rounding.ts";
import type { TensorSource } from "../views/tensor-source.ts";
import type { OpenSide } from "./sides.ts";

/**
 * `same bytes`: equal bit for bit in the HF view. `same type`: equal types, and numbers that may differ by what their last
 * bit makes. `cast`: one side is the rounding of the other to narrower types. `quantised`: one side is stored as codes.
 */
export const PROFILES = ["same bytes", "same type", "cast", "quantised"] as const;
export type ProfileName = (typeof PROFILES)[number];

export interface Profile {
  readonly name: ProfileName;
  readonly origin: "detected" | "given";
  /** What it was told by, in words. */
  readonly because: string;
}

type Sides = readonly [a: OpenSide, b: OpenSide];

export function profileOf([a, b]: Sides, asked: ProfileName | undefined): Profile {
  const found = detected(a, b);
  return asked === undefined
    ? { ...found, origin: "detected" }
    : { name: asked, origin: "given", because: `asked for; ${found.because}` };
}

function detected(a: OpenSide, b: OpenSide): Pick<Profile, "name" | "because"> {
  const [x, y] = [encodingsOf(a), encodingsOf(b)];
  if (x !== y) {
    const words = (encoding: string, side: string) => (encoding === "" ? `${side} is plain` : `${side} is ${encoding}`);
    return { name: "quantised", because: `${words(x, "a")}, ${words(y, "b")}` };
  }
  const types = typesOf(a, b);
  if (types.length > 0) return { name: "cast", because: castWords(types) };
  return { name: "same bytes", because: "both sides have the same element types" };
}

const encodingsOf = ({ model }: OpenSide): string =>
  [...new Set([...model.encoded.values()].map(({ encoding }) => encoding.name))].toSorted().join(", ");

/** None where a side's tensors cannot be told: the ledger says why. */
function typesOf(a: OpenSide, b: OpenSide): readonly CastTypes[] {
  const [x, y] = [sourceOf(a), sourceOf(b)];
  return x === null || y === null ? [] : castTypes(x, y);
}

function sourceOf({ view }: OpenSide): TensorSource | null {
  try {
    return view.source;
  } catch {
    return null;
  }
}

/**
 * The sides with the wider types first: a cast rounds them to those of the other, and widening loses nothing, so that the
 * way back is a rounding as well. As they are where each is wider somewhere.
 */
export function widerFirst([a, b]: Sides): Sides {
  const types = typesOf(a, b);
  const bits = (dtype: CastTypes["from"]) => (isFloat(dtype) ? FRACTION_BITS[dtype] : 0);
  return types.length > 0 && types.every(({ from, to }) => bits(from) < bits(to)) ? [b, a] : [a, b];
}

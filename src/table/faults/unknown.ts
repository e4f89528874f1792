// What a tensor without a rule may be, and the way out. What the family knows, and what a weight cannot be read without, is
// never offered to be left out: the model would come out another one.
import { nearestKey } from "../../base/near.ts";
import type { CompiledSide } from "../compile.ts";
import { abstractKey } from "../dims/key-pattern.ts";
import { findSlot } from "../resolve.ts";

const quote = (key: string): string => `"${key}"`;

/** What methods of quantisation store beside a weight's codes, and the codes: by the last part of the key. */
const QUANTISED_PART =
  /(?:^|[._])(?:scales?(?:_inv|_2)?|zeros?(?:_points?)?|absmax|quant_(?:map|state)(?:\..+)?|SCB|g_idx|qweight|qzeros|qdata|amax|codebooks?|W_q)$/;

/** Up to the module of a vision tower, or of what joins it to the text model. */
const VISION = /^(?:.+\.)?(?:visual|vision_(?:tower|model)|(?:multi_modal|mm)_projector)\./;

export function unknownHelp(key: string, own: CompiledSide, other: CompiledSide): string {
  if (QUANTISED_PART.test(key))
    return "it looks like a scale or another part of a quantised weight, which cannot be read without it: take the model's unquantised weights; --to raw changes the container alone";
  const known = whatIsKnown(key, own, other);
  if (known !== undefined) return `${known.what}: ${known.question}`;
  const tower = VISION.exec(key)?.[0];
  if (tower !== undefined && ![...own.byKey.keys()].some((each) => VISION.test(each)))
    return `it is of a vision tower, and the config is of a text model: take the whole model's config (--config); to convert the text model alone, --allow-drop '${tower}*'`;
  const near = nearestKey(key, own.byKey.keys());
  const named =
    near === undefined
      ? "name the family with --family if it was not recognised"
      : `the nearest known key is ${quote(near)}`;
  return `${named}; if it is no part of the model, --allow-drop leaves it out`;
}

/** Why a tensor that the user lets go is more than a stranger: what the family knows of its kind. Else undefined. */
export const knownAs = (key: string, own: CompiledSide, other: CompiledSide): string | undefined =>
  whatIsKnown(key, own, other)?.what;

interface Known {
  readonly what: string;
  readonly question: string;
}

function whatIsKnown(key: string, own: CompiledSide, other: CompiledSide): Known | undefined {
  if (findSlot(other, key) !== undefined)
    return { what: "this is how the other side of the conversion spells it", question: "was it renamed before?" };
  return beyond(key, own) ?? elsewhere(key, own);
}

const IS_CONFIG_RIGHT = "is the config the right one (--config)?";

/** A layer or an expert beyond those that the config has: `the config has 3 layers, and this is of a 4th`. */
function beyond(key: string, own: CompiledSide): Known | undefined {
  const { counts } = kindsOf(own);
  const segments = key.split(".");
  for (const [i, segment] of segments.entries()) {
    if (i === 0 || !/^\d+$/.test(segment)) continue;
    const count = counts.get(abstractKey(segments.slice(0, i).join(".")));
    if (count === undefined) return undefined;
    const index = Number(segment);
    if (index < count) continue;
    const [what, nth] = [counted(count, segments[i - 1]!), ordinal(index + 1)];
    return { what: `the config has ${what}, and this is of a ${nth}`, question: IS_CONFIG_RIGHT };
  }
  return undefined;
}

interface Kinds {
  /** A key of each kind. */
  readonly examples: ReadonlyMap<string, string>;
  /** How many indices there are after a path of modules, by the path's kind. */
  readonly counts: ReadonlyMap<string, number>;
}

/** Made once a side: of a thousand experts beyond the config's, each is looked up. */
const made = new WeakMap<CompiledSide, Kinds>();

function kindsOf(side: CompiledSide): Kinds {
  const known = made.get(side);
  if (known !== undefined) return known;
  const [examples, counts] = [new Map<string, string>(), new Map<string, number>()];
  for (const key of side.byKey.keys()) {
    const kind = abstractKey(key);
    if (!examples.has(kind)) examples.set(kind, key);
    const [segments, path] = [key.split("."), kind.split(".")];
    for (const [i, segment] of path.entries()) {
      if (segment !== "#") continue;
      const lead = path.slice(0, i).join(".");
      counts.set(lead, Math.max(counts.get(lead) ?? 0, Number(segments[i]) + 1));
    }
  }
  const kinds = { examples, counts };
  made.set(side, kinds);
  return kinds;
}

const counted = (count: number, name: string): string =>
  `${count} ${count === 1 && name.endsWith("s") ? name.slice(0, -1) : name}`;

function ordinal(n: number): string {
  const isTeen = n % 100 >= 11 && n % 100 <= 13;
  return `${n}${(isTeen ? undefined : ["th", "st", "nd", "rd"][n % 10]) ?? "th"}`;
}

/** A tensor of a kind that the config has in other layers, such as an expert in a dense one. */
function elsewhere(key: string, own: CompiledSide): Known | undefined {
  const example = kindsOf(own).examples.get(abstractKey(key));
  if (example === undefined) return undefined;
  const what = `the config has such tensors only at other indices, such as ${quote(example)}`;
  return { what, question: IS_CONFIG_RIGHT };
}

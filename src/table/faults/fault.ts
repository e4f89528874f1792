// What can be wrong between a source and a table, as values.

interface About {
  /** Of a tensor of the source, as the source spells it, or canonical where it lacks it; of a collision, the target's. */
  readonly key: string;
  readonly expected?: string;
  readonly found?: string;
  /** The way out. It is worked out when it is asked for: it may look for a near key among all of a table's. */
  readonly help: () => string;
}

/** A field of the config which, at another value, has a place for tensors that are there, or asks for none that are missing. */
export interface FieldSwitch {
  /** Path in the config: `text_config.attention_bias`. */
  readonly field: string;
  /** As the config has it; undefined where it has none, and `default` stands for it where that is known. */
  readonly value: unknown;
  readonly default?: unknown;
  readonly other: unknown;
  /** The faults that are gone then: `code key`. */
  readonly settles: ReadonlySet<string>;
}

interface Switchable {
  /** Looked for when it is asked for. */
  readonly switched?: () => FieldSwitch | null;
}

export interface AmbiguousOrder extends About {
  readonly code: "AMBIGUOUS_ORDER";
  readonly shape: readonly number[];
}

/** `key` and `other` are one tensor of the table; a plan takes `other`. */
export interface TwoSpellings extends About {
  readonly code: "TWO_SPELLINGS";
  readonly other: string;
}

/** A part of the model that the source lacks as a whole. Its tensors are not told as missing again. */
export interface MissingTower extends About {
  readonly code: "MISSING_TOWER";
  readonly tower: string;
  /** Canonical keys of its tensors; the first is `key`. */
  readonly missing: readonly string[];
}

export interface MissingTensor extends About, Switchable {
  readonly code: "MISSING_TENSOR";
  readonly expected: string;
  readonly spellings: readonly string[];
  /** Null where only the source could tell, and does not. */
  readonly shape: readonly number[] | null;
  /** The part of the model that it belongs to, where the source has other tensors of that part. */
  readonly tower?: string;
}

export interface UnknownTensor extends About, Switchable {
  readonly code: "UNKNOWN_TENSOR";
  /** What it is, where a rule refuses it: `"is an expert"`. */
  readonly reason?: string;
}

export interface ShapeMismatch extends About {
  readonly code: "SHAPE_MISMATCH";
  readonly expected: string;
  readonly found: string;
  /** The dims that were expected: `[n·H, d]`. */
  readonly words: string;
}

/** A tensor that the model computes with, stored in a type that is no floating-point one: integers there are codes. */
export interface WeightNotFloat extends About {
  readonly code: "WEIGHT_NOT_FLOAT";
  readonly expected: string;
  /** Its type. */
  readonly found: string;
}

/** `key` and `other` would become one tensor, and are of two types. */
export interface MixedDtypes extends About {
  readonly code: "MIXED_DTYPES";
  readonly target: string;
  readonly other: string;
  /** Type of `other`. */
  readonly expected: string;
  readonly found: string;
}

/** Two tensors would both become `key`. */
export interface KeyCollision extends About {
  readonly code: "KEY_COLLISION";
  /** Keys of the source; a rule's name in place of the first where the rule makes its tensor of nothing. */
  readonly sources: readonly [string, string];
}

/** A source that has one of these can be planned around it. */
export type TolerableFault =
  | TwoSpellings
  | MissingTower
  | MissingTensor
  | UnknownTensor
  | ShapeMismatch
  | WeightNotFloat;

/** With one of the others nothing tells what the tensors are to become. */
export type TableFault = TolerableFault | AmbiguousOrder | MixedDtypes | KeyCollision;

export const isTolerable = (fault: TableFault): fault is TolerableFault =>
  fault.code !== "AMBIGUOUS_ORDER" && fault.code !== "MIXED_DTYPES" && fault.code !== "KEY_COLLISION";

/** Keys of the source that a plan which tolerates the faults cannot take anything from. */
export const keysAtFault = (faults: readonly TolerableFault[]): ReadonlySet<string> =>
  new Set(faults.flatMap((fault) => (fault.code === "MISSING_TOWER" ? fault.missing : [fault.key])));

export function weightNotFloat(key: string, found: string): WeightNotFloat {
  const help = () =>
    "these are codes of a quantised model, and its scales are lost or of a kind that is not read: take the model's unquantised weights; --to raw changes the container alone";
  return { code: "WEIGHT_NOT_FLOAT", key, expected: "F64, F32, F16 or BF16", found, help };
}

/** @param target the tensor that both would become; each of the two with its key and its type */
export function mixedDtypes(
  target: string,
  [other, expected]: readonly [string, string],
  [key, found]: readonly [string, string],
): MixedDtypes {
  const help = () => `cast them to one type with --dtype, such as --dtype '${target}=f32'`;
  return { code: "MIXED_DTYPES", key, target, other, expected, found, help };
}

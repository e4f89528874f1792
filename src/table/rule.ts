// The vocabulary of a family's mapping. A rule says that some native tensors and some HF tensors hold the same elements
// in two orders of the same named axes; read left to right it converts native → HF, right to left HF → native.

/**
 * Axes of a tensor, outermost first: `"v d"`; products in parentheses, `"(n H) d"`; parts of unequal size side by side,
 * `"(q: n H | k: k H | v: k H) d"`. A part is a label and, after a colon, its own axes (none: one element). Parts of
 * different tensors correspond by label; a label before all axes names a whole tensor, `"q: (n H) d"`. `"."` is a scalar.
 * Axes that stand in the key, `layers.{l}.`, are not repeated here.
 */
export type Dims = string;

/** How the tensors of one rank-sharded checkpoint lie on its ranks: cut along a dimension, or whole on each. */
export type Ranks = { readonly cut: number } | "replicated";

export interface Term {
  /** Canonical key. `{l}` is an axis, `{m+L}` an axis shifted by the size of another one or by a number. */
  readonly key: string;
  readonly dims: Dims;
  /** Dims where the tensor is stored under an encoding that declares others, e.g. `{ mxfp4: "e d f" }`. */
  readonly encoded?: Readonly<Record<string, Dims>>;
  /** Other spellings of the key, accepted on reading. */
  readonly spellings?: readonly string[];
  readonly ranks?: Ranks;
}

export interface MapRule {
  readonly kind: "map";
  /** Name of the rule in plans and errors. */
  readonly op: string;
  readonly native: readonly Term[];
  readonly hf: readonly Term[];
  /** The tensors may be absent, all together. */
  readonly optional: boolean;
}

export type Side = "native" | "hf";

/** `alias` holds the same bytes as `of`, on one side. Axes of `of` are axes of `alias`. */
export interface TieRule {
  readonly kind: "tie";
  readonly side: Side;
  readonly alias: string;
  readonly of: string;
  readonly reason: string;
  /** Whether this side is written with the alias, unless the record says otherwise. */
  readonly materialise: boolean;
}

/** Tensors that the other side has no place for. They may be absent. */
export interface DropRule {
  readonly kind: "drop";
  readonly side: Side;
  readonly key: string;
  readonly reason: string;
  /** `?` stands for a dimension of any size. */
  readonly dims: Dims;
  /** Value every element must have, and with which the tensor is re-created (f32). */
  readonly recreate?: number;
  /** Values the tensor must have up to rounding, row-major; it is not re-created. */
  readonly derived?: () => Float32Array;
}

/** Keys that no other rule claims change only their name: `{key}` stands for the rest. Shapes come from headers. */
export interface PassThroughRule {
  readonly kind: "passThrough";
  readonly native: string;
  readonly hf: string;
}

export type Rule = MapRule | TieRule | DropRule | PassThroughRule;

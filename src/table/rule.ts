// The vocabulary of a family's mapping, worked through in docs/rules.md. A rule says that some native tensors and some HF tensors hold the same elements
// in two orders of the same named axes; read left to right it converts native → HF, right to left HF → native.

import { tableError } from "./dims/dims.ts";
import { halfSplitDims, partDims, prefixedLabels, reversedDims, withoutKeyAxes } from "./dims/rewrite.ts";

/**
 * Axes of a tensor, outermost first: `"v d"`; products in parentheses, `"(n H) d"`; parts of unequal size side by side,
 * `"(q: n H | k: k H | v: k H) d"`. A part is a label and, after a colon, its own axes (none: one element). Parts of
 * different tensors correspond by label; a label before all axes names a whole tensor, `"q: (n H) d"`. `"."` is a scalar.
 * Axes that stand in the key, `layers.{l}.`, are not repeated here.
 */
export type Dims = string;

/**
 * How the tensors of one rank-sharded checkpoint lie on its ranks: cut along a dimension into equal shards, or whole on
 * each. Where several dimensions are given, writing cuts along the first, and reading takes the one that fits. A shard
 * has a whole number of units, each of so many elements along the dimension, e.g. heads.
 */
export type Ranks = { readonly cut: number | readonly number[]; readonly unit?: number } | "replicated";

export interface Term {
  /** Canonical key. `{l}` is an axis, `{m+L}` an axis shifted by the size of another one or by a number. */
  readonly key: string;
  readonly dims: Dims;
  /** Dims where the tensor is stored under an encoding that declares others, e.g. `{ mxfp4: "e d f" }`. */
  readonly encoded?: Readonly<Record<string, Dims>>;
  /**
   * Dims in files of another writer, keyed by a name for its order. All tensors of a checkpoint that have several
   * orders stand in the same one. On reading, their shapes tell which.
   */
  readonly orders?: Readonly<Record<string, Dims>>;
  /** Other spellings of the key, accepted on reading. */
  readonly spellings?: readonly string[];
  readonly ranks?: Ranks;
  /** Why its values must not be rounded along with all others, where they must not. */
  readonly critical?: string;
}

export interface MapRule {
  readonly kind: "map";
  /** Name of the rule in plans and errors. */
  readonly op: string;
  readonly native: readonly Term[];
  readonly hf: readonly Term[];
  /** The tensors may be absent, all together. */
  readonly optional: boolean;
  /**
   * Name of the part of the model that its tensors belong to, e.g. `vision tower`, where files may lack that part as a
   * whole.
   */
  readonly tower?: string;
  /** Of an optional rule: name of the part, where the config announces it. Its absence is no fault, and is said. */
  readonly announced?: string;
  /** The order of the files that the rule applies to; all files unless given. "" is the canonical order. */
  readonly order?: string;
  /** Native keys of the rules that stand for each other, in their several orders. */
  readonly group?: string;
  /** What HF's values are more than the native ones: 1 where a trainer keeps a norm's weight around 0, and HF around 1. */
  readonly plus?: number;
  readonly form?: Form;
}

/**
 * The form of native files that a rule applies to; all files unless given. "" is the form that is written. A checkpoint
 * is in one form as a whole, and its keys tell in which.
 */
export type Form = string;

export type Side = "native" | "hf";

/** `alias` holds the same bytes as `of`, on one side. Axes of `of` are axes of `alias`. */
export interface TieRule {
  readonly kind: "tie";
  readonly side: Side;
  readonly alias: string;
  readonly of: string;
  /** Other spellings of the alias, accepted on reading. */
  readonly spellings?: readonly string[];
  readonly reason: string;
  /** Whether this side is written with the alias, unless the record says otherwise. */
  readonly materialise: boolean;
  /** As of a Term; those of the original unless given. */
  readonly ranks?: Ranks;
  readonly form?: Form;
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
  /** Value every element must have; it is not re-created. */
  readonly equals?: number;
  /** Values the tensor must have up to rounding, row-major; it is not re-created. */
  readonly derived?: () => Float32Array;
  /** Where else it has a place, or how to let all that are like it go. */
  readonly help?: string;
  /** As of a Term. */
  readonly critical?: string;
  readonly ranks?: Ranks;
  readonly form?: Form;
}

/**
 * Keys that no other rule claims change only their name: `{key}` stands for the rest. Shapes come from headers. Patterns
 * may hold an axis, `layers.{l}.{key}`: what passes at half of its indices or more must be at each, with one shape.
 */
export interface PassThroughRule {
  readonly kind: "passThrough";
  readonly native: string;
  readonly hf: string;
  readonly except?: readonly PassThroughException[];
  /** What stands for `{key}` in tensors that must be there at every index of the axis. */
  readonly required?: readonly string[];
}

/** Keys that no `passThrough` of a table takes, whichever rule names them. */
export interface PassThroughException {
  readonly keys: RegExp;
  /** What such a tensor is: `"is an expert"`. */
  readonly reason: string;
  readonly help: string;
}

/** Keys of a side may come with or without this prefix; the canonical ones are as the other rules spell them. */
export interface PrefixRule {
  readonly kind: "prefix";
  readonly side: Side;
  readonly prefix: string;
}

/** Keys of a side that the other has no place for, whatever they hold: each is refused by name unless the user lets it go. */
export interface RefuseRule {
  readonly kind: "refuse";
  readonly side: Side;
  /** `{key}` stands for the rest. */
  readonly keys: string;
  /** What such a tensor is: `"belongs to the vision tower, which …"`. */
  readonly reason: string;
  readonly help: string;
  /** The part of the model that they make up, where the config says that it has it. */
  readonly tower?: string | undefined;
}

export type Rule = MapRule | TieRule | DropRule | PassThroughRule | PrefixRule | RefuseRule;

/** Axes written in a key: `KeyAxes<"layers.{l}.experts.{e}.w">` is `"l" | "e"`. */
type KeyAxes<K extends string> = K extends `${string}{${infer A}}${infer R}` ? AxisName<A> | KeyAxes<R> : never;
type AxisName<A extends string> = A extends `${infer N}+${string}` ? N : A extends `${infer N}-${string}` ? N : A;
/** `H` if both keys have the same axes, else a type that no key has. */
type SameAxes<N extends string, H extends string> = [KeyAxes<N>] extends [KeyAxes<H>]
  ? [KeyAxes<H>] extends [KeyAxes<N>]
    ? H
    : never
  : never;
type MoreAxes<N extends string, H extends string> = [KeyAxes<N>] extends [KeyAxes<H>] ? H : never;

/** A tensor of a general rule: its dims, or all that can be said of it. */
export type TermSpec = Dims | Omit<Term, "key">;
export type Terms = Readonly<Record<string, TermSpec>>;

const termsOf = (terms: Terms): Term[] =>
  Object.entries(terms).map(([key, spec]) => (typeof spec === "string" ? { key, dims: spec } : { key, ...spec }));

/** The general form: tensors of one side and of the other, `{ key: dims }`, that hold the same elements. */
export const map = (op: string, native: Terms, hf: Terms): MapRule => ({
  kind: "map",
  op,
  native: termsOf(native),
  hf: termsOf(hf),
  optional: false,
});

/** Another name, the same bytes. */
export const rename = <N extends string, H extends string>(native: N, hf: SameAxes<N, H>, dims: Dims): MapRule =>
  map("rename", { [native]: dims }, { [hf]: dims });

/** Other dims over the same axes: `"o (c t p q)"` ↔ `"o c t p q"`. */
export const reorder = <N extends string, H extends string>(
  native: N,
  hf: SameAxes<N, H>,
  nativeDims: Dims,
  hfDims: Dims,
): MapRule => map("reorder", { [native]: nativeDims }, { [hf]: hfDims });

/** Dims in reverse order on the HF side. */
export const transpose = <N extends string, H extends string>(native: N, hf: SameAxes<N, H>, dims: Dims): MapRule =>
  map("transpose", { [native]: dims }, { [hf]: reversedDims(dims) });

/**
 * Native pairs adjacent channels (2i, 2i+1) of a head, HF pairs i with i + H/2. `dims` are the native ones and hold
 * `h two` where HF has `two h`: `"(n h two) d"`, `"(n h two)"` for a bias, `"(n (rot: h two | pass: p)) d"`.
 */
export const permuteRope = <N extends string, H extends string>(native: N, hf: SameAxes<N, H>, dims: Dims): MapRule =>
  map("permuteRope", { [native]: dims }, { [hf]: halfSplitDims(dims) });

/** One native tensor, an HF tensor an index; the axes of `dims` that stand in the HF key are left out on that side. */
export const stackExperts = <N extends string, H extends string>(native: N, hf: MoreAxes<N, H>, dims: Dims): MapRule =>
  map("stackExperts", { [native]: dims }, { [hf]: withoutKeyAxes(dims, hf) });

/** Native tensors, by label, that are the parts of one HF tensor, whose dims are given. */
export const concat = (parts: Readonly<Record<string, string>>, hf: string, dims: Dims): MapRule =>
  map("concat", partTerms(parts, dims), { [hf]: dims });

/** One native tensor, whose dims are given, with HF tensors, by label, as its parts. */
export const split = (native: string, parts: Readonly<Record<string, string>>, dims: Dims): MapRule =>
  map("split", { [native]: dims }, partTerms(parts, dims));

const partTerms = (parts: Readonly<Record<string, string>>, dims: Dims): Terms =>
  Object.fromEntries(
    Object.entries(parts).map(([label, key]) => [key, `${label}: ${withoutKeyAxes(partDims(dims, label), key)}`]),
  );

/** The tensors of the rule may be absent, all together. */
export const optional = (rule: MapRule): MapRule => ({ ...rule, optional: true });

/** The config announces the tensors of an optional rule: files that lack them all are told so, and are none the worse. */
export const announced = (name: string, rule: MapRule): MapRule => ({ ...rule, announced: name });

/**
 * HF's values are the native ones plus `amount`: 1 of a norm whose weight one side keeps around 0. The sum is rounded once to
 * the tensor's type, as torch rounds it, so that a value with more digits around 0 than around 1 does not come back.
 */
export const plus = (amount: number, rule: MapRule): MapRule => ({ ...rule, plus: amount });

/** Rules as one rule, so that `optional` lets their tensors be absent only all together. */
export function together(op: string, rules: readonly MapRule[]): MapRule {
  const ordered = rules.find(({ order }) => order !== undefined);
  if (ordered !== undefined) throw tableError(`${op}: ${ordered.op} holds in one order only`);
  const added = rules.find((rule) => rule.plus !== undefined);
  if (added !== undefined) throw tableError(`${op}: ${added.op} adds to its values, and the others do not`);
  const labelled = (side: Side) =>
    rules.flatMap((rule, i) => rule[side].map((term) => ({ ...term, dims: prefixedLabels(term.dims, `tensor${i}`) })));
  return { kind: "map", op, native: labelled("native"), hf: labelled("hf"), optional: rules.every((r) => r.optional) };
}

/** The tensors of the rules are one part of the model. A file without any of them gets one error for all of them. */
export const tower = (name: string, rules: readonly MapRule[]): MapRule[] =>
  rules.map((rule) => ({ ...rule, tower: name }));

/**
 * Rules for canonical files, and rules that replace them for files of another writer. The keys of a checkpoint tell
 * which apply: at each index rules that hold the same native tensors are replaced together.
 */
export function inOrder(order: string, canonical: readonly MapRule[], others: readonly MapRule[]): MapRule[] {
  const all = [...canonical.map((rule) => ({ ...rule, order: "" })), ...others.map((rule) => ({ ...rule, order }))];
  return all.map((rule) => ({ ...rule, group: [...nativeKeysWith(rule, all)].toSorted().join(" ") }));
}

/** Native keys of a rule, of those that share any of them, and so on. */
function nativeKeysWith(rule: MapRule, all: readonly MapRule[]): ReadonlySet<string> {
  const keys = new Set(rule.native.map(({ key }) => key));
  for (let size = 0; size < keys.size; ) {
    size = keys.size;
    for (const { native } of all)
      if (native.some(({ key }) => keys.has(key))) for (const { key } of native) keys.add(key);
  }
  return keys;
}

/** Rules without those of other orders: the canonical ones then hold for all files. */
export const inCanonicalOrder = (rules: readonly MapRule[]): MapRule[] =>
  rules.filter(({ order = "" }) => order === "").map(({ order: _, group: __, ...rule }) => rule);

/** The rules apply to native files of one form. The same HF keys have rules in the form that is written, "". */
export const inForm = <R extends MapRule | TieRule | DropRule>(form: Form, rules: readonly R[]): R[] =>
  rules.map((rule) => ({ ...rule, form }));

/** Other spellings of the one key of a rule on one side, accepted on reading. */
export function alsoSpelled(side: Side, spellings: readonly string[], rule: MapRule): MapRule {
  const terms = rule[side].map((term) => ({ ...term, spellings: [...(term.spellings ?? []), ...spellings] }));
  if (terms.length !== 1) throw tableError(`${rule.op}: give each of several tensors its own spellings`);
  return { ...rule, [side]: terms };
}

/** How rank shards of the rule's native tensors lie. */
export const onRanks = <R extends MapRule | TieRule | DropRule>(ranks: Ranks, rule: R): R =>
  rule.kind === "map" ? { ...rule, native: rule.native.map((term) => ({ ...term, ranks })) } : { ...rule, ranks };

/** Whether a layout is saved as rank shards. */
export const isRanked = (rules: readonly Rule[]): boolean =>
  rules.some((rule) => rule.kind === "map" && rule.native.some(({ ranks }) => ranks !== undefined));

/** The tensors of the rule are not rounded by a cast of all weights, only by one that names them. */
export function critical<R extends MapRule | DropRule>(reason: string, rule: R): R {
  if (rule.kind === "drop") return { ...rule, critical: reason };
  const marked = (terms: readonly Term[]) => terms.map((term) => ({ ...term, critical: reason }));
  return { ...rule, native: marked(rule.native), hf: marked(rule.hf) };
}

export const optionalPrefix = (side: Side, prefix: string): PrefixRule => ({ kind: "prefix", side, prefix });

/** A second name for a tensor of the same side. `materialise`: whether that side is written with it by default. */
export const tie = (side: Side, alias: string, of: string, reason: string, materialise: boolean): TieRule => ({
  kind: "tie",
  side,
  alias,
  of,
  reason,
  materialise,
});

export const drop = (
  side: Side,
  key: string,
  reason: string,
  value: Pick<DropRule, "dims" | "recreate" | "equals" | "derived" | "help">,
): DropRule => ({ kind: "drop", side, key, reason, ...value });

/**
 * @param tower its name, where the config has this part: the conversion of a file without any of these keys notes that
 * the part is absent
 */
export const refuse = (
  side: Side,
  keys: string,
  words: Pick<RefuseRule, "reason" | "help">,
  tower?: string,
): RefuseRule => ({
  kind: "refuse",
  side,
  keys,
  ...words,
  tower,
});

export const passThrough = (
  native: string,
  hf: string,
  except: readonly PassThroughException[] = [],
  required: readonly string[] = [],
): PassThroughRule => ({ kind: "passThrough", native, hf, except, required });

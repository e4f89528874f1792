// One side of a comparison in the element types of the other, cast as a conversion casts it: what a cast that was asked
// for makes of a tensor. Widening is exact, so it is a cast like any other.
import type { Dtype } from "../base/dtype.ts";
import { FLOATS, type Float, isFloat } from "../base/floats.ts";
import type { TensorInfo } from "../formats/checkpoint.ts";
import type { HfView } from "./as-hf.ts";
import { castingRead } from "./cast.ts";
import type { ViewedModel } from "./tables.ts";
import { type TensorSource, tensorInfo } from "./tensor-source.ts";

/** How many tensors of a have one type, and another in b. */
export interface CastTypes {
  readonly from: Dtype;
  readonly to: Dtype;
  readonly tensors: number;
}

type Pair<T> = readonly [a: T, b: T];

/** Whether a and b are one tensor in two floating-point types. */
export const isCast = ([a, b]: Pair<TensorInfo>): boolean =>
  a.dtype !== b.dtype && isFloat(a.dtype) && isFloat(b.dtype);

/** By kind of cast, over the tensors that both sides have. */
export function castTypes(a: TensorSource, b: TensorSource): CastTypes[] {
  const counts = new Map<string, CastTypes>();
  for (const info of a.tensors.values()) {
    const other = b.tensors.get(info.key);
    if (other === undefined || !isCast([info, other])) continue;
    const { dtype: from } = info;
    const { dtype: to } = other;
    const kind = `${from}→${to}`;
    counts.set(kind, { from, to, tensors: (counts.get(kind)?.tensors ?? 0) + 1 });
  }
  return [...counts.values()].toSorted((x, y) => y.tensors - x.tensors);
}

/** `F32 → BF16 (24 tensors)` */
export const castWords = (types: readonly CastTypes[]): string =>
  types
    .map(({ from, to, tensors }) => `${from} → ${to} (${tensors} ${tensors === 1 ? "tensor" : "tensors"})`)
    .join(", ");

/** The tensors of `source`, each in the type that `typeOf` gives for its key, if that is another floating-point type. */
export function castSource(source: TensorSource, typeOf: (key: string) => Dtype | undefined): TensorSource {
  const casts = new Map<string, readonly [Float, Float]>();
  const tensors = new Map<string, TensorInfo>();
  // A decoded tensor is cast from all its digits: a conversion rounds it once.
  const isDecoded = (key: string, to: Dtype | undefined) =>
    source.tensors.get(key)!.encoding !== undefined && to !== undefined && to !== source.tensors.get(key)!.dtype;
  const decoded = new Set([...source.tensors.keys()].filter((key) => isDecoded(key, typeOf(key))));
  const from = decoded.size === 0 ? source : (source.unrounded?.(decoded) ?? source);
  for (const [key, info] of from.tensors) {
    const to = typeOf(key) ?? info.dtype;
    if (isFloat(info.dtype) && isFloat(to) && to !== info.dtype) casts.set(key, [info.dtype, to]);
    const { encoding } = info;
    const cast = casts.has(key) ? tensorInfo(key, to, info.shape) : info;
    tensors.set(key, encoding === undefined ? cast : { ...cast, encoding });
  }
  return {
    tensors,
    read(key, begin, target) {
      const types = casts.get(key);
      if (types === undefined) from.read(key, begin, target);
      else castingRead((name, at, out) => from.read(name, at, out), ...types)(key, begin, target);
    },
  };
}

/** a in the types of b, by the same keys. */
export const castLike = (a: TensorSource, b: TensorSource): TensorSource =>
  castSource(a, (key) => b.tensors.get(key)?.dtype);

/** The type that both can be rounded to without more loss than one of them has already; undefined where one is no float. */
export function narrower(a: Dtype | undefined, b: Dtype | undefined): Float | undefined {
  if (a === undefined || b === undefined || !isFloat(a) || !isFloat(b)) return undefined;
  return FLOATS.indexOf(a) > FLOATS.indexOf(b) ? a : b;
}

/**
 * The model, of which `view` is, in the types that `wantedOf` gives for the keys of Hugging Face. A tensor of its own that
 * becomes several of which several types are wanted stays as it is.
 */
export function castModel<M extends ViewedModel>(
  model: M,
  view: HfView,
  wantedOf: (key: string) => Dtype | undefined,
): M {
  const wanted = new Map<string, Set<Dtype>>();
  for (const [key, sources] of view.origins) {
    const type = wantedOf(key);
    if (type === undefined) continue;
    for (const own of sources) wanted.set(own, (wanted.get(own) ?? new Set()).add(type));
  }
  for (const { alias, of } of view.plan.equalities) wanted.set(alias, wanted.get(of) ?? new Set());
  const typeOf = (key: string): Dtype | undefined => {
    const [type, ...others] = wanted.get(key) ?? [];
    return others.length === 0 ? type : undefined;
  };
  return { ...model, source: castSource(model.source, typeOf) };
}

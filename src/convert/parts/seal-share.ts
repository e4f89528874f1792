// How the hashes that make up a target's root are shared among parts.
import type { Dtype } from "../../base/dtype.ts";
import type { HfView } from "../../views/as-hf.ts";
import type { Mapping } from "../../views/mapping.ts";

/** A tensor of the model, as its hash is part of the root. */
export interface Leaf {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

/** All that the root is made of, but for the hashes. */
export interface SealOutline {
  readonly config: string | null;
  /** The types that tensors are cast to, where the target is a rounding. */
  readonly dtypes: readonly Dtype[];
  /** In the order of their numbers: first those of the target, then, of a rounding, those of the source. */
  readonly target: readonly Leaf[];
  readonly rounded: readonly Leaf[] | null;
}

/** What a part hashes. */
export interface SealShare {
  /** Numbers of tensors. */
  readonly only: ReadonlySet<number>;
  /** Whether all of a tensor of the target passes by. */
  readonly isWhole: (key: string) => boolean;
}

/** A tensor of the model by one of the target that holds elements of it. */
export interface Held {
  readonly key: string;
  readonly byteLength: number;
}

/** Finds a tensor of a target of another layout than `hf` that holds elements of one of the model. */
export function holders(view: HfView, { tensors }: Mapping): (key: string) => string {
  const made = new Map([...tensors].flatMap(([key, { sources }]) => sources.map((name) => [name, key] as const)));
  return (key) => made.get(key) ?? made.get(view.origins.get(key)?.[0] ?? "") ?? "";
}

// All ways to make a fault, and how many places a checkpoint has for each.

import { KINDS } from "../faults/kinds/registry.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { type ModelOptions, openModel } from "../model/model.ts";
import { asHf } from "../views/as-hf.ts";
import { placesOf, sampleOf } from "./choose.ts";

export interface ListedKind {
  readonly kind: string;
  readonly code: string | null;
  readonly about: string;
  readonly keepsShapes: boolean;
  /** Null without a checkpoint. */
  readonly places: readonly string[] | null;
}

/** The JSON document of `mutate --list`. */
export interface KindList {
  readonly verdict: "pass";
  /** The checkpoint that was looked at; null for none. */
  readonly of: string | null;
  readonly kinds: readonly ListedKind[];
}

/** All of them, or those that this checkpoint has a place for. Throws what opening a model throws. */
export function listKinds(good: Checkpoint | null, options: ModelOptions): KindList {
  const facts = ({ name, code, about, keepsShapes }: (typeof KINDS)[number]) => ({
    kind: name,
    code,
    about,
    keepsShapes,
  });
  if (good === null)
    return { verdict: "pass", of: null, kinds: KINDS.map((kind) => ({ ...facts(kind), places: null })) };
  const model = openModel(good, options);
  const sample = sampleOf(model, asHf(model, { mixedDtypes: true }));
  const kinds = KINDS.map((kind) => ({ ...facts(kind), places: placesOf(kind, model, sample) }));
  return { verdict: "pass", of: good.path, kinds: kinds.filter(({ places }) => places.length > 0) };
}

// Which mutants are made: of each kind some, in all families that have a place for it, by a seed.
import { adapters } from "../../adapters/registry.ts";
import type { Kind } from "../../src/faults/kinds/kind.ts";
import { randomBy } from "../../src/faults/kinds/random.ts";
import { KINDS } from "../../src/faults/kinds/registry.ts";
import { openModel } from "../../src/model/model.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { placesOf, sampleOf } from "../../src/mutate/choose.ts";
import { asHf } from "../../src/views/as-hf.ts";
import type { Base } from "./bases.ts";

export interface Planned {
  readonly base: Base;
  readonly kind: Kind;
  readonly place: string;
  /** Which side gets the fault; the other one is good. */
  readonly side: "hf" | "native";
}

export interface Selection {
  /** Of a kind that is a fault, and of one that is none. */
  readonly faults: number;
  readonly controls: number;
  readonly seed: number;
}

type Places = ReadonlyMap<Kind, readonly { readonly base: Base; readonly places: readonly string[] }[]>;

function placesIn(bases: readonly Base[]): Places {
  const all = new Map<Kind, { base: Base; places: readonly string[] }[]>(KINDS.map((kind) => [kind, []]));
  for (const base of bases) {
    const checkpoint = openCheckpoint(base.hf);
    const model = openModel(checkpoint, { adapters });
    const sample = sampleOf(model, asHf(model, { mixedDtypes: true }));
    for (const kind of KINDS) {
      const places = placesOf(kind, model, sample);
      if (places.length > 0) all.get(kind)!.push({ base, places });
    }
    checkpoint.close();
  }
  return all;
}

/** In an order that the seed gives. */
function shuffled<T>(all: readonly T[], random: () => number): T[] {
  return all
    .map((one) => [random(), one] as const)
    .toSorted(([a], [b]) => a - b)
    .map(([, one]) => one);
}

/** Families in turn, so that a kind is not tried on one alone; faults of tensors are made in native files, too. */
export function selected(bases: readonly Base[], { faults, controls, seed }: Selection): readonly Planned[] {
  const planned: Planned[] = [];
  for (const [kind, found] of placesIn(bases)) {
    const random = randomBy(seed, kind.name);
    const families = new Map<string, { base: Base; places: readonly string[] }[]>();
    for (const one of shuffled(found, random)) {
      const name = one.base.runs ? one.base.family : one.base.layout;
      families.set(name, [...(families.get(name) ?? []), one]);
    }
    const turns = shuffled([...families.values()], random);
    const wanted = kind.code === null ? controls : faults;
    const taken = new Set<string>();
    for (let turn = 0; taken.size < wanted && turn < 8 * wanted; turn++) {
      const own = turns[turn % Math.max(1, turns.length)];
      const one = own?.[Math.floor(turn / turns.length) % own.length];
      if (one === undefined) break;
      const place = one.places[Math.floor(random() * one.places.length)]!;
      if (taken.has(`${one.base.name} ${place}`)) continue;
      taken.add(`${one.base.name} ${place}`);
      const side = !one.base.runs || (kind.keepsShapes && random() < 0.35) ? "native" : "hf";
      planned.push({ base: one.base, kind, place, side });
    }
  }
  return planned;
}

// What undoes a known fault, in every place where a model can have it. With both sides at hand a fault is recognised in the
// tensors; beside recorded logits alone it is undone on trial, and the logits say whether it was there.
import type { TensorSource } from "../../views/tensor-source.ts";
import type { Sample } from "../fault.ts";
import { partOf } from "./parts.ts";
import { type Reach, reachOf } from "./reach.ts";

/** Bytes of a whole tensor as they would be without the fault. */
export type Edit = (source: TensorSource, key: string) => Uint8Array;

/** One place of a fault. */
export interface Place {
  /** Tensors that are other without the fault, by their Hugging Face keys. */
  readonly edits: ReadonlyMap<string, Edit>;
  /** What is undone there, where a tensor can have the fault in several ways. */
  readonly how: string;
}

export interface Undoing {
  /** As reports call the fault: `cause.code`. */
  readonly code: string;
  /** Whether it moves nothing but how much tokens see of each other. */
  readonly isOfScores?: boolean;
  /** Continues a sentence that begins with tensors. */
  readonly words: string;
  readonly mend: string;
  places(sample: Sample, hints: Hints): readonly Place[];
  /** Whether numbers are made anew: in a narrow type they are rounded once more. */
  readonly rounds?: boolean;
  /** Whether the places are tried one by one only: one head, one expert. */
  readonly alone?: boolean;
}

export interface Hints {
  /** Experts that tokens at hand chose, by the layer's stack and number, `model.layers.3`; null where that is not known. */
  readonly chosen: ReadonlyMap<string, ReadonlySet<number>> | null;
}

/** Places that are tried together. */
export interface Suspect extends Pick<Undoing, "code" | "words" | "mend"> {
  /** Whether its tensors are of a narrow type, and their numbers made anew. */
  readonly isRounded: boolean;
  readonly reach: Reach;
  readonly edits: ReadonlyMap<string, Edit>;
  readonly how: string;
  /** The tensors in short: `model.layers.*.self_attn.k_proj.weight`. */
  readonly place: string;
}

/**
 * Each place alone, and together those of one kind in all layers, those of one layer, and all of them: a wrong table is wrong in
 * every layer, a wrong row of it in one kind of tensor.
 */
export function suspectsOf(undoing: Undoing, sample: Sample, hints: Hints): Suspect[] {
  const { code, words, mend, isOfScores = false, rounds = false, alone = false } = undoing;
  const places = undoing.places(sample, hints);
  const sets = new Map<string, Place[]>();
  const add = (name: string, place: Place) => sets.set(name, [...(sets.get(name) ?? []), place]);
  for (const place of alone ? [] : places) {
    const parts = [...place.edits.keys()].map(partOf);
    add(`${place.how} of all`, place);
    add(`${place.how} of kind ${parts.map(({ stack, role }) => `${stack}.${role}`)}`, place);
    const [first] = parts;
    // Some permute the weights alone, and leave biases as they are.
    const ending = /[^.]*$/.exec(first!.role)?.[0];
    add(`${place.how} of all ${ending}`, place);
    if (first!.layer !== null) add(`${place.how} of layer ${first!.stack}.${first!.layer} ${ending}`, place);
    if (first!.layer !== null) add(`${place.how} of layer ${first!.stack}.${first!.layer}`, place);
  }
  const together = [...sets.values()].filter((set) => set.length > 1);
  const all = [...together, ...places.map((place) => [place])].map((set) => {
    const edits = new Map(set.flatMap((place) => [...place.edits]));
    const keys = [...edits.keys()];
    return {
      code,
      words,
      mend,
      edits,
      how: set[0]!.how,
      place: placeOf(keys),
      reach: reachOf(sample, keys, isOfScores),
      isRounded: rounds && keys.some((key) => isNarrow(sample, key)),
    };
  });
  const seen = new Set<string>();
  return all.filter(({ how, edits }) => {
    const id = `${how} ${[...edits.keys()].toSorted()}`;
    if (seen.has(id)) return false;
    seen.add(id);
    return true;
  });
}

const isNarrow = ({ source }: Sample, key: string): boolean => !/^F(?:32|64)$/.test(source.tensors.get(key)!.dtype);

/** Keys in short, with stars for numbers of layers where there are several. */
function placeOf(keys: readonly string[]): string {
  if (keys.length === 1) return keys[0]!;
  const layers = new Set(keys.map((key) => partOf(key).layer));
  if (layers.size === 1)
    return keys.length <= 4 ? keys.join(", ") : `${keys.slice(0, 3).join(", ")} and ${keys.length - 3} more`;
  const kinds = [...new Set(keys.map(starred))];
  return kinds.length <= 4 ? kinds.join(", ") : `${kinds.slice(0, 3).join(", ")} and ${kinds.length - 3} more`;
}

function starred(key: string): string {
  const { stack, layer, role } = partOf(key);
  return layer === null ? key : `${stack}.*.${role}`;
}

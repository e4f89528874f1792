// Which kind of fault is meant, and where this model can have it.
import { InputError, UsageError } from "../base/errors.ts";
import { nearestKey } from "../base/near.ts";
import type { Sample } from "../faults/fault.ts";
import { valueAt } from "../faults/kinds/config/field.ts";
import type { Kind } from "../faults/kinds/kind.ts";
import { KINDS, kindNamed } from "../faults/kinds/registry.ts";
import type { Model } from "../model/model.ts";
import type { HfView } from "../views/as-hf.ts";

/** A kind, and the tensor or field that was named with it. */
export interface Wanted {
  readonly kind: Kind;
  readonly place: string | null;
}

/** `NAME` or `NAME:PLACE`. Throws UsageError FAULT_UNKNOWN. */
export function wantedFault(text: string): Wanted {
  const at = text.indexOf(":");
  const name = at < 0 ? text : text.slice(0, at);
  const kind = kindNamed(name);
  if (kind !== null) return { kind, place: at < 0 ? null : text.slice(at + 1) };
  const names = KINDS.map((each) => each.name);
  const near = nearestKey(name, names);
  throw new UsageError("FAULT_UNKNOWN", `--fault ${name}: no such fault`, {
    expected: "a name that `mutate --list` shows",
    found: name,
    help: near === undefined ? "`mutate --list` shows all" : `did you mean ${near}? \`mutate --list\` shows all`,
  });
}

/**
 * The model as faults are made on it: tensors in the Hugging Face view, and config.json. A trainer's own config gets the
 * fields of Hugging Face's beside it, so that places are found; its own are what can be changed.
 */
export function sampleOf({ stored, family }: Model, view: HfView): Sample {
  const { json } = stored.config;
  return { source: view.source, config: json.model_type === undefined ? { ...family.hfConfig(), ...json } : json };
}

/** Where this model can have it, the place itself in its own config. */
export function placesOf(kind: Kind, model: Model, sample: Sample): readonly string[] {
  const isField = (place: string) => !sample.source.tensors.has(place) && kind.make(sample, place).fields.length > 0;
  const { json } = model.stored.config;
  return kind
    .places(sample)
    .filter((place) => json.model_type !== undefined || !isField(place) || valueAt(json, place) !== undefined);
}

/** Throws InputError FAULT_NOT_HERE, naming what can be made. */
export function placeOf({ kind, place }: Wanted, model: Model, sample: Sample): string {
  const places = placesOf(kind, model, sample);
  const [first] = places;
  if (first === undefined) throw notHere(kind, model, "this model has no place for it", sample);
  if (place === null) return first;
  const found = places.find((each) => each === place) ?? places.find((each) => each.endsWith(`.${place}`));
  if (found !== undefined) return found;
  throw new InputError("FAULT_NOT_HERE", `${kind.name} cannot be made in "${place}"`, {
    ...(sample.source.tensors.has(place) ? { tensor: place } : {}),
    file: model.checkpoint.path,
    expected: firstOf(places),
    found: place,
    help: `name one of its places, such as --fault ${kind.name}:${first}; keys are those of Hugging Face`,
  });
}

/** Throws nothing: the caller does. */
export function notHere(kind: Kind, model: Model, why: string, sample: Sample): InputError {
  const others = KINDS.filter((each) => placesOf(each, model, sample).length > 0).map(({ name }) => name);
  return new InputError("FAULT_NOT_HERE", `${model.checkpoint.path}: ${kind.name} cannot be made here: ${why}`, {
    file: model.checkpoint.path,
    expected: firstOf(others.filter((name) => name !== kind.name)),
    found: kind.name,
    help: `\`mutate ${model.checkpoint.path} --list\` shows what can be made of this checkpoint`,
  });
}

const SHOWN = 12;

const firstOf = (names: readonly string[]): string =>
  names.slice(0, SHOWN).join(", ") + (names.length > SHOWN ? ` and ${names.length - SHOWN} more` : "");

// Which of a checkpoint's tensors are a model's, and of which family and layout it is.
import { InputError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import type { Adapter } from "../family/adapter.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { candidatesFor, type Detected, type Fit, fitOf, knownKinds } from "./detect.ts";
import { noFit } from "./keys/nearest.ts";
import {
  AS_THEY_ARE,
  type Kinds,
  kindsOf,
  leadsOf,
  MOST_KINDS,
  notesOf,
  type Reading,
  unwrapped,
  withAdded,
  withoutLeads,
} from "./keys/readings.ts";
import { type ModelKeys, modelKeys } from "./keys.ts";
import { recordIn } from "./record.ts";

/** What the user says of a checkpoint's family and layout. */
export interface RecogniseOptions {
  readonly adapters: readonly Adapter[];
  readonly family?: string | undefined;
  readonly layout?: string | undefined;
}

export interface Recognised extends Detected {
  readonly keys: ModelKeys;
}

interface Found {
  readonly fit: Fit;
  readonly reading: Reading;
}

/**
 * Family and layout of the model's tensors, wherever they stand.
 * Throws InputError NO_MODEL, TWO_SPELLINGS where two keys are one, TWO_MODELS, and what `detect` throws.
 */
export function recognise(checkpoint: Checkpoint, config: JsonObject | null, options: RecogniseOptions): Recognised {
  const own = modelKeys(checkpoint);
  if (own.length === 0) throw noModel(checkpoint);
  const kinds = kindsOf(own);
  const { fit, reading } = new Recogniser(checkpoint, kinds, config, options).best(own);
  const { adapter, layout } = fit;
  const { lead, rename } = reading;
  const names = new Map(own.map((key) => [rename(key), key]));
  return { adapter, layout, keys: { prefix: lead, model: names, rename, notes: notesOf(reading) } };
}

class Recogniser {
  readonly #kinds: Kinds;
  readonly #config: JsonObject | null;
  readonly #options: RecogniseOptions;
  readonly #evidence: { readonly ranks: boolean; readonly recorded: () => string | undefined };
  readonly #tried: Reading[] = [];
  #failure: InputError | undefined;
  /** Of a reading under which all keys are those of another family than the settled one. */
  #otherFamily: InputError | undefined;

  constructor(checkpoint: Checkpoint, kinds: Kinds, config: JsonObject | null, options: RecogniseOptions) {
    this.#kinds = kinds;
    this.#config = config;
    this.#options = options;
    this.#evidence = {
      ranks: checkpoint.ranks !== undefined,
      recorded: () => recordIn(checkpoint.folder)?.to.layout,
    };
  }

  /** The reading that fits best; of equal ones that which changes least. */
  best(keys: readonly string[]): Found {
    if (this.#kinds.size > MOST_KINDS) {
      const found = this.#try(AS_THEY_ARE);
      if (found === undefined) throw this.#failure;
      return found;
    }
    const base = unwrapped(this.#kinds);
    const pair = collision(keys, base);
    if (pair !== undefined) throw twoSpellings(pair, base);
    const found = this.#fits(base, keys);
    const [first, ...rest] = found.length > 0 ? found : this.#withAddedLeads(base, keys);
    if (first === undefined) throw this.#noFit();
    const best = rest.reduce((a, b) => (score(b) > score(a) ? b : a), first);
    if (this.#otherFamily !== undefined && !isPerfect(best)) throw this.#otherFamily;
    const equal = [first, ...rest].filter((other) => score(other) === score(best));
    const apart = equal.filter((other) => isApart(other, best));
    return apart.length === 0 ? (asWhole(best, equal) ?? best) : plainOf([best, ...apart]);
  }

  /** Readings that fit and read no two keys as one. */
  #fits(base: Reading, keys: readonly string[]): Found[] {
    const plain = this.#try(base);
    if (plain !== undefined && isPerfect(plain)) return [plain];
    const found = plain === undefined ? [] : [plain];
    for (const reading of withoutLeads(this.#kinds, base)) {
      const fitting = this.#try(reading);
      if (fitting !== undefined && collision(keys, reading) === undefined) found.push(fitting);
    }
    return found;
  }

  /** Base classes of transformers save without the name that the model has in the class with a head. */
  #withAddedLeads(base: Reading, keys: readonly string[]): Found[] {
    const { adapters, family } = this.#options;
    const stripped = [base, ...withoutLeads(this.#kinds, base)];
    return candidatesFor(adapters, this.#config, family).families.flatMap((adapter) => {
      const names = [...new Set(knownKinds(adapter, adapter.hf, this.#config).flatMap((known) => [...known.spelled]))];
      const tops = new Set(names.map((name) => name.split(".", 1)[0]!));
      return leadsOf(names)
        .filter((lead) => !lead.includes("#"))
        .flatMap((lead) => stripped.map((reading) => withAdded(reading, lead, tops)))
        .map((reading) => this.#try(reading, [adapter]))
        .filter((found) => found !== undefined)
        .filter(({ reading }) => collision(keys, reading) === undefined);
    });
  }

  #try(reading: Reading, adapters = this.#options.adapters): Found | undefined {
    const { family, layout } = this.#options;
    this.#tried.push(reading);
    const settled = { ...(family === undefined ? {} : { family }), ...(layout === undefined ? {} : { layout }) };
    const names = new Set([...this.#kinds.keys()].map(reading.rename));
    try {
      return { fit: fitOf(adapters, names, this.#config, settled, this.#evidence), reading };
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      if (error.code === "OTHER_FAMILY") this.#otherFamily ??= error;
      // Keys that fit several layouts fit better than those that fit none.
      if (this.#failure === undefined || this.#failure.code === "UNKNOWN_FAMILY") this.#failure = error;
      return undefined;
    }
  }

  #noFit(): InputError {
    const { adapters, family } = this.#options;
    const failure = this.#failure;
    const isOfKeys = candidatesFor(adapters, this.#config, family).families.length > 0;
    if (failure !== undefined && !(failure.code === "UNKNOWN_FAMILY" && isOfKeys)) return failure;
    return noFit(adapters, this.#kinds, this.#tried, this.#config, family);
  }
}

const score = ({ fit: { known, present } }: Found): number => known + present;

const isPerfect = ({ fit: { known, present } }: Found): boolean => known === 1 && present === 1;

/** Whether neither of two leads begins with the other: the keys under them are two sets. */
const isApart = ({ reading: a }: Found, { reading: b }: Found): boolean =>
  !a.lead.startsWith(b.lead) && !b.lead.startsWith(a.lead);

/** Names under which trainers whose layouts are known save a model. */
const TRAINERS_OWN = /^(?:(?:app|model|module)\.)*$/;

/**
 * A trainer that only puts a name before Hugging Face's own keys, `model.`, reads as itself below any other name too. Under
 * a name of somebody else the keys are rather Hugging Face's.
 */
const asWhole = ({ reading: { lead } }: Found, equal: readonly Found[]): Found | undefined =>
  TRAINERS_OWN.test(lead) ? undefined : equal.find(({ fit: { layout } }) => layout.side === "hf");

/** Two keys that a reading makes one. */
function collision(keys: readonly string[], { rename }: Reading): readonly [string, string] | undefined {
  if (rename === AS_THEY_ARE.rename) return undefined;
  const seen = new Map<string, string>();
  for (const key of keys) {
    const name = rename(key);
    const other = seen.get(name);
    if (other !== undefined) return [other, key];
    seen.set(name, key);
  }
  return undefined;
}

function twoSpellings([one, other]: readonly [string, string], { wrappers, rename }: Reading): InputError {
  const names = wrappers.map((name) => `"${name}"`).join(", ");
  return new InputError("TWO_SPELLINGS", `"${one}" and "${other}" are two spellings of one tensor`, {
    tensor: other,
    expected: `one of them: without ${names} both are "${rename(other)}"`,
    found: "both",
    help: "save the model again, wrapped or not, and not both; --to raw keeps both as they are",
  });
}

/** A model under a name that only says so goes before one that has a name of its own: an average, another role. */
const PLAIN = /^(?:(?:model|module|state_dict|model_state|model_state_dict|app)\.)+$/;

/** Of models that fit equally well. Throws InputError TWO_MODELS. */
function plainOf(found: readonly Found[]): Found {
  const plain = found.filter(({ reading }) => PLAIN.test(reading.lead));
  const [only, more] = plain;
  if (only !== undefined && more === undefined) return only;
  const leads = found.map(({ reading }) => `"${reading.lead}"`).join(" and ");
  throw new InputError("TWO_MODELS", `the keys are those of ${found.length} models, under ${leads}`, {
    expected: "one model",
    found: leads,
    help: "save the one that is meant in a file of its own; --to raw keeps all of them as they are",
  });
}

function noModel(checkpoint: Checkpoint): InputError {
  const found = checkpoint.tensors.size === 0 ? "no tensors at all" : "tensors of optimizer and trainer only";
  return new InputError("NO_MODEL", `${checkpoint.path}: holds no tensors of a model`, {
    file: checkpoint.path,
    expected: "model weights",
    found,
    help: "give the checkpoint of a model; --to raw converts any other",
  });
}

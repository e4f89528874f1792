// Which fields of a config the family's parser reads: found by giving it one that notes what is asked of it. Each that it has a
// default for is a field that a conversion can lose.
import { InputError } from "../base/errors.ts";
import { isJsonObject, type JsonObject } from "../base/json.ts";
import type { Family } from "./family.ts";

export interface Field {
  readonly path: readonly string[];
  /** undefined where the config has none. */
  readonly value: unknown;
}

/** A config that tells which of its fields are asked for: those that are no objects, by their path. */
export function watched(json: JsonObject, seen: (field: Field) => void, path: readonly string[] = []): JsonObject {
  return new Proxy(json, {
    get(target, name) {
      if (typeof name === "symbol") return Reflect.get(target, name);
      const value: unknown = target[name];
      const own = [...path, name];
      if (isJsonObject(value)) return watched(value, seen, own);
      seen({ path: own, value });
      return value;
    },
  });
}

/** Fields in the order in which they are read, each once. */
export const fieldsRead = (family: Family): Field[] =>
  [...allRead(family).values()].filter(({ path }) => !NOT_MATHEMATICS.has(path.at(-1)!));

/** By their paths, with those that say nothing of the mathematics. */
export function allRead(family: Family): ReadonlyMap<string, Field> {
  const found = new Map<string, Field>();
  const note = (field: Field) => found.set(field.path.join("."), field);
  family.reopened(watched(family.hfConfig(), note)).math();
  return found;
}

/** What they say is no mathematics, or what the shapes of the tensors settle. */
const NOT_MATHEMATICS = new Set([
  "toJSON",
  "model_type",
  "architectures",
  "transformers_version",
  "dtype",
  "torch_dtype",
  "quantization_config",
  "num_hidden_layers",
  "hidden_size",
  "intermediate_size",
  "vocab_size",
  "depth",
]);

/** The config with another value of a field, or without it. */
export function withField(config: JsonObject, [name, ...rest]: readonly string[], value: unknown): JsonObject {
  if (name === undefined) return config;
  if (rest.length === 0) {
    const { [name]: _, ...others } = config;
    return value === undefined ? others : { ...config, [name]: value };
  }
  const inner = config[name];
  return { ...config, [name]: withField(isJsonObject(inner) ? inner : {}, rest, value) };
}

/** The family at another config; null where that config, or the tensors, do not allow it. */
export function familyAt(family: Family, config: JsonObject): Family | null {
  try {
    const other = family.reopened(config);
    // Some fields are read no sooner.
    other.hf.forward();
    return other;
  } catch (error) {
    if (error instanceof InputError || error instanceof RangeError) return null;
    throw error;
  }
}

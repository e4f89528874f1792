// Which fields of a config the family's parser reads: found by giving it one that notes what is asked of it. Each that it has a
// default for is a field that a conversion can lose.
import { InputError } from "../../base/errors.ts";
import { isJsonObject, type JsonObject } from "../../base/json.ts";
import type { Family } from "../../family/family.ts";

export interface Field {
  readonly path: readonly string[];
  /** undefined where the config has none. */
  readonly value: unknown;
}

/** Fields in the order in which they are read, each once. */
export function fieldsRead(family: Family): Field[] {
  const config = family.hfConfig();
  const found = new Map<string, Field>();
  const watched = (json: JsonObject, path: readonly string[]): JsonObject =>
    new Proxy(json, {
      get(target, name) {
        if (typeof name === "symbol") return Reflect.get(target, name);
        const value: unknown = target[name];
        const own = [...path, name];
        if (!isJsonObject(value)) found.set(own.join("."), { path: own, value });
        return isJsonObject(value) ? watched(value, own) : value;
      },
    });
  const probe = family.reopened(watched(config, []));
  probe.math();
  return [...found.values()].filter(({ path }) => !NOT_MATHEMATICS.has(path.at(-1)!));
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

// A config as its file spells it, field by field: the names that a person finds in config.json.
import { isJsonObject, type JsonObject } from "../base/json.ts";

export interface WrittenField {
  /** Names that lead to it in the file. */
  readonly at: readonly string[];
  /** Names that lead to it in the one spelling. */
  readonly names: readonly string[];
  readonly value: unknown;
}

/** By path, in one spelling of those that mean the same; lists are values. */
export type WrittenFields = ReadonlyMap<string, WrittenField>;

/** Where transformers 5 keeps RoPE. */
const ROPE = "rope_parameters";
/** What transformers 4 keeps beside the object of RoPE. */
const BESIDE_ROPE: ReadonlySet<string> = new Set(["rope_theta", "partial_rotary_factor"]);

/** @param renamed whether RoPE as transformers 4 spells it goes by the names of transformers 5 */
export function writtenFields(json: JsonObject, renamed: boolean): WrittenFields {
  const fields = new Map<string, WrittenField>();
  const set = (names: readonly string[], at: readonly string[], value: unknown): void => {
    if (value !== undefined) fields.set(names.join("."), { at, names, value });
  };
  const walk = (object: JsonObject, path: readonly string[], at: readonly string[]): void => {
    const rope = renamed ? ropeIn(object) : null;
    for (const [name, value] of Object.entries(object)) {
      if (rope !== null && isRope(name) && name !== rope.name) continue;
      const under = rope !== null && (BESIDE_ROPE.has(name) || name === rope.name);
      const inside = under ? [...path, ROPE] : path;
      if (under && name === rope.name) walkRope(rope.object, inside, [...at, name]);
      else if (under && name in rope.object) continue;
      else if (isJsonObject(value)) walk(value, [...inside, name], [...at, name]);
      else set([...inside, name], [...at, name], value);
    }
  };
  const walkRope = (object: JsonObject, path: readonly string[], at: readonly string[]): void => {
    for (const [name, value] of Object.entries(object)) {
      const known = name === "type" && !("rope_type" in object) ? "rope_type" : name;
      if (isJsonObject(value)) walk(value, [...path, known], [...at, name]);
      else set([...path, known], [...at, name], value);
    }
  };
  walk(json, [], []);
  return fields;
}

const isRope = (name: string): boolean => name === "rope_scaling" || name === ROPE;

/** The object of RoPE that is read: `rope_scaling`, where it is not empty, takes the place of `rope_parameters`. */
function ropeIn(json: JsonObject): { readonly name: string; readonly object: JsonObject } | null {
  for (const name of ["rope_scaling", ROPE]) {
    const object = json[name];
    if (isJsonObject(object) && (name === ROPE || Object.keys(object).length > 0)) return { name, object };
  }
  return [...BESIDE_ROPE].some((name) => name in json) ? { name: ROPE, object: {} } : null;
}

/** The config that has these fields and no other. */
export function configOf(fields: WrittenFields): JsonObject {
  const config: Record<string, unknown> = {};
  for (const { names, value } of fields.values()) {
    let object = config;
    for (const name of names.slice(0, -1)) {
      const inner = object[name];
      const next: Record<string, unknown> = isRecord(inner) ? inner : {};
      object[name] = next;
      object = next;
    }
    object[names.at(-1)!] = value;
  }
  return config;
}

const isRecord = (value: unknown): value is Record<string, unknown> => isJsonObject(value);

// What fields a config leaves out, and what their readers took instead: a report names both.
import type { JsonObject } from "../base/json.ts";

const TAKEN = new WeakMap<JsonObject, Map<string, unknown>>();

/** Notes that a reader found no field at `path` of a config, and took `value`. */
export function noteDefault(config: JsonObject, path: string, value: unknown): void {
  const taken = TAKEN.get(config) ?? new Map<string, unknown>();
  TAKEN.set(config, taken.set(path, value));
}

/** What reading a config took for a field that it leaves out; undefined where it has the field, or nothing reads it. */
export const defaultTaken = (config: JsonObject, path: string): unknown => TAKEN.get(config)?.get(path);

// Small files that say what a model takes.
import { readFileSync } from "node:fs";
import { InputError } from "../../base/errors.ts";
import { isJsonObject, type JsonObject } from "../../base/json.ts";

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** @throws InputError NOT_FOUND */
export function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw new InputError("NOT_FOUND", `${file}: cannot be read`, { file, cause, help: "check the path" });
  }
}

/** @throws InputError NOT_FOUND or JSON_INVALID */
export function readJson(file: string): unknown {
  const text = readText(file);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new InputError("JSON_INVALID", `${file}: not JSON`, {
      file,
      cause,
      found: messageOf(cause),
      help: "check that this is the right file",
    });
  }
}

/** @throws InputError NOT_FOUND, JSON_INVALID, or `code` where it is no object */
export function readJsonObject(file: string, code: string, help: string): JsonObject {
  const value = readJson(file);
  if (isJsonObject(value)) return value;
  throw new InputError(code, `${file}: not a JSON object`, {
    file,
    expected: "a JSON object",
    found: Array.isArray(value) ? "an array" : String(value).slice(0, 20),
    help,
  });
}

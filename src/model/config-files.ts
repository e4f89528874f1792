import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { InputError } from "../base/errors.ts";
import { isJsonObject, type JsonObject } from "../base/json.ts";
import { CONFIG_NAMES, isCompanion } from "../formats/file-names.ts";

/** A model config as it lies on disk. */
export interface ConfigFile {
  readonly path: string;
  readonly text: string;
  readonly json: JsonObject;
}

/** Directory that a checkpoint's own files lie in. */
export const directoryOf = (path: string): string => (statSync(path).isDirectory() ? path : dirname(path));

/** Whether a config of this name is a layout's own, and nothing that transformers reads. */
export const isLayoutConfig = (name: string): boolean => name === "params.json";

const configIn = (directory: string): string =>
  CONFIG_NAMES.map((name) => join(directory, name)).find((path) => existsSync(path)) ?? join(directory, "config.json");

/** The config beside a checkpoint; null where there is none. */
export function configBeside(checkpoint: string): ConfigFile | null {
  const path = configIn(directoryOf(checkpoint));
  return existsSync(path) ? readConfig(path) : null;
}

/** Reads a config, or the one that a directory holds. Throws InputError. */
export function readConfig(path: string): ConfigFile {
  const stats = statSync(path, { throwIfNoEntry: false });
  const file = stats?.isDirectory() ? configIn(path) : path;
  if (stats === undefined || !existsSync(file)) {
    throw new InputError("CONFIG_NOT_FOUND", `${file}: no such file`, {
      file,
      help: "give the path of a config.json, or of a directory that holds one",
    });
  }
  const text = readFileSync(file, "utf8");
  return { path: file, text, json: parseObject(text, file) };
}

function parseObject(text: string, file: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new InputError("CONFIG_MALFORMED", `${file}: not JSON: ${cause instanceof Error ? cause.message : cause}`, {
      file,
      help: "restore the file from where the model came from",
      cause,
    });
  }
  if (isJsonObject(value)) return value;
  throw new InputError("CONFIG_MALFORMED", `${file}: not a JSON object`, {
    file,
    expected: "an object",
    found: Array.isArray(value) ? "an array" : value === null ? "null" : `a ${typeof value}`,
    help: "restore the file from where the model came from",
  });
}

/** Names of tokenizer, generation and processor files in a directory. */
export const companionsIn = (directory: string): string[] =>
  readdirSync(directory, { withFileTypes: true })
    .filter((entry) => !entry.isDirectory() && isCompanion(entry.name))
    .map((entry) => entry.name)
    .toSorted();

import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import type { JsonObject } from "../../adapters/adapter.ts";
import { InputError } from "../errors.ts";

/** A model config as it lies on disk. */
export interface ConfigFile {
  readonly path: string;
  readonly text: string;
  readonly json: JsonObject;
}

/** What a model directory holds besides weights and config.json, and what the way back needs. */
const COMPANIONS: readonly RegExp[] = [
  /^tokenizer\.(?:json|model|model\.v\d+)$/,
  /^(?:tokenizer_config|special_tokens_map|added_tokens|generation_config)\.json$/,
  /^(?:vocab\.(?:json|txt)|merges\.txt|tekken\.json)$/,
  /^(?:spiece|sentencepiece\.bpe)\.model$/,
  /\.tiktoken$/,
  /^chat_template\.(?:json|jinja)$/,
  /^(?:preprocessor|processor|image_processor|video_preprocessor|feature_extractor)_config\.json$/,
];

/** Directory that a checkpoint's own files lie in. */
export const directoryOf = (path: string): string => (statSync(path).isDirectory() ? path : dirname(path));

/** Configs by the names that model directories give them: HF's, and Meta's where there is no other. */
const CONFIG_NAMES = ["config.json", "params.json"] as const;

export const isConfigName = (name: string): boolean => CONFIG_NAMES.some((known) => known === name);

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
  if (isObject(value)) return value;
  throw new InputError("CONFIG_MALFORMED", `${file}: not a JSON object`, {
    file,
    expected: "an object",
    found: Array.isArray(value) ? "an array" : value === null ? "null" : `a ${typeof value}`,
    help: "restore the file from where the model came from",
  });
}

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Whether a file of this name is one for tokenizer, generation or processor. */
export const isCompanion = (name: string): boolean => COMPANIONS.some((pattern) => pattern.test(name));

/** Names of tokenizer, generation and processor files in a directory. */
export const companionsIn = (directory: string): string[] =>
  readdirSync(directory, { withFileTypes: true })
    .filter((entry) => !entry.isDirectory() && isCompanion(entry.name))
    .map((entry) => entry.name)
    .toSorted();

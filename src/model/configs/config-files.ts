import { InputError } from "../../base/errors.ts";
import { isJsonObject, type JsonObject, parseJson } from "../../base/json.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import { CONFIG_NAMES } from "../../formats/file-names.ts";
import { locate, type PathOrLocation } from "../../formats/io/disk-folder.ts";
import { CONFIG_LIMIT, type Folder, has, readText } from "../../formats/io/folder.ts";
import { wayTo } from "../not-there.ts";

/** A model config and the file that it was read from. */
export interface ConfigFile {
  /** For messages and reports. */
  readonly path: string;
  readonly folder: Folder;
  readonly name: string;
  readonly text: string;
  readonly json: JsonObject;
  /** The checkpoint's own where absent; else given for whichever side has none, or for this checkpoint alone. */
  readonly given?: "where none is" | "for it alone";
}

/** Whether a config file of this name belongs to a trainer's layout and transformers does not read it. */
export const isLayoutConfig = (name: string): boolean => name === "params.json";

/** The configs in a folder, HF's first. */
export const configsIn = (folder: Folder): ConfigFile[] =>
  CONFIG_NAMES.filter((name) => has(folder, name)).map((name) => parseConfig(folder, name, folder.pathOf(name)));

/** The config in a folder; null where there is none. */
export function configIn(folder: Folder): ConfigFile | null {
  const name = CONFIG_NAMES.find((each) => has(folder, each));
  return name === undefined ? null : parseConfig(folder, name, folder.pathOf(name));
}

/** The config that goes with a checkpoint; null where there is none. */
export const configBeside = ({ folder, companions }: Pick<Checkpoint, "folder" | "companions">): ConfigFile | null =>
  configIn(folder) ?? (companions === undefined ? null : configIn(companions));

/** Reads a config, or the one that a folder holds. Throws InputError CONFIG_NOT_FOUND, CONFIG_MALFORMED and what reading throws. */
export function readConfig(at: PathOrLocation): ConfigFile {
  const location = locate(at);
  const { path, folder, file } = location;
  const found = file === null ? configIn(folder) : has(folder, file) ? parseConfig(folder, file, path) : null;
  if (found !== null) return found;
  const missing = file === null ? folder.pathOf(CONFIG_NAMES[0]) : path;
  throw new InputError("CONFIG_NOT_FOUND", `${missing}: no such file`, {
    file: missing,
    help: wayTo(location, "give the path of a config.json, or of a directory that holds one"),
  });
}

function parseConfig(folder: Folder, name: string, path: string): ConfigFile {
  const text = readText(folder, name, CONFIG_LIMIT, path);
  const json = PARSED.get(text) ?? parseObject(text, path);
  PARSED.delete(text);
  PARSED.set(text, json);
  for (const oldest of [...PARSED.keys()].slice(0, -MOST_PARSED)) PARSED.delete(oldest);
  return { path, folder, name, text, json };
}

/** Texts that were read last: a config is one object for all who read it again, and what is known of it is kept by it. */
const PARSED = new Map<string, JsonObject>();
const MOST_PARSED = 4;

function parseObject(text: string, file: string): JsonObject {
  let value: unknown;
  try {
    value = parseJson(text);
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

// Reads small text files of inputs: those that the user names, and those beside a checkpoint.
import { readFileSync } from "node:fs";
import { isAddress } from "../../base/addresses.ts";
import { ConvertCheckpointError, InputError } from "../../base/errors.ts";
import { isJsonObject, type JsonObject, parseJson } from "../../base/json.ts";
import { witness } from "../../base/witness.ts";
import { locate } from "../../formats/io/disk-folder.ts";
import {
  CONFIG_LIMIT,
  type Folder,
  has,
  readBytes as readBytesIn,
  readText as readTextIn,
} from "../../formats/io/folder.ts";

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Whatever a person makes for a run to read at once; what is larger is a checkpoint. */
const NAMED_LIMIT = 1 << 28;

/** A file that the user names; it may be a pipe, or lie elsewhere. Throws what the file system does, or whoever has it. */
export function readBytes(file: string): Buffer {
  if (isAddress(file)) return readElsewhere(file);
  const content = readFileSync(file);
  witness()?.took(file, content);
  return content;
}

function readElsewhere(address: string): Buffer {
  const { folder, file } = locate(address);
  if (file === null || !has(folder, file)) throw notFound(address);
  return readBytesIn(folder, file, NAMED_LIMIT, address);
}

/** @throws InputError NOT_FOUND, and what whoever has it throws */
export function readText(file: string): string {
  try {
    return readBytes(file).toString("utf8");
  } catch (cause) {
    throw cause instanceof ConvertCheckpointError ? cause : notFound(file, cause);
  }
}

const notFound = (file: string, cause?: unknown): InputError =>
  new InputError("NOT_FOUND", `${file}: cannot be read`, { file, cause, help: "check the path" });

/** A file that the user names. @throws InputError NOT_FOUND or JSON_INVALID */
export const readJson = (file: string): unknown => parsed(readText(file), file);

function parsed(text: string, file: string): unknown {
  try {
    return parseJson(text);
  } catch (cause) {
    throw new InputError("JSON_INVALID", `${file}: not JSON`, {
      file,
      cause,
      found: messageOf(cause),
      help: "check that this is the right file",
    });
  }
}

export interface JsonFile {
  readonly name: string;
  /** What messages call it; its path in the folder unless given. */
  readonly shown?: string;
  readonly limit?: number;
  /** The code of the error where it is no object. */
  readonly code: string;
  readonly help: string;
}

/** A JSON object in a folder. @throws InputError NOT_FOUND, JSON_INVALID, `code`, and what reading its text throws */
export function readJsonObject(
  folder: Folder,
  { name, limit = CONFIG_LIMIT, code, help, ...rest }: JsonFile,
): JsonObject {
  const { shown: file = folder.pathOf(name) } = rest;
  if (!has(folder, name)) throw notFound(file);
  const value = parsed(readTextIn(folder, name, limit, file), file);
  if (isJsonObject(value)) return value;
  throw new InputError(code, `${file}: not a JSON object`, {
    file,
    expected: "a JSON object",
    found: Array.isArray(value) ? "an array" : String(value).slice(0, 20),
    help,
  });
}

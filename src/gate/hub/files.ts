// Small files of a model folder, read as far as a check needs them.
import { isJsonObject, type JsonObject, parseJson } from "../../base/json.ts";
import { readBytes } from "../../formats/io/byte-source.ts";
import { type Folder, has, readText } from "../../formats/io/folder.ts";

/** A tokenizer with its merges is the largest: some 35 MB. */
const LIMIT = 1 << 28;

/** A JSON object, what is wrong with it, or null where there is no such file. */
export type Read = { readonly json: JsonObject } | { readonly fault: string } | null;

export function jsonIn(folder: Folder, name: string): Read {
  if (!has(folder, name)) return null;
  try {
    const json = parseJson(readText(folder, name, LIMIT));
    return isJsonObject(json) ? { json } : { fault: `${name} is no JSON object` };
  } catch (error) {
    const pointer = isPointer(folder, name) ? ", but a pointer of Git LFS: fetch the file itself" : "";
    return { fault: `${name} is no JSON${pointer}: ${error instanceof Error ? error.message : String(error)}` };
  }
}

const POINTER = "version https://git-lfs.github.com/spec/";

/** Whether a file is what git keeps in place of a large one. */
export function isPointer(folder: Folder, name: string): boolean {
  const file = folder.open(name);
  try {
    if (file.byteLength < POINTER.length || file.byteLength > 1024) return false;
    return Buffer.from(readBytes(file, 0, POINTER.length)).toString("latin1") === POINTER;
  } finally {
    file.close();
  }
}

export const filesIn = (folder: Folder): string[] => folder.list().filter((name) => folder.kind(name) === "file");

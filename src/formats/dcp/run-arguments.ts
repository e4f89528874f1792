// Arguments of the run that saved a checkpoint, as Megatron-Core keeps them: in `common.pt`, or since 0.17 in the entry
// `common_state/shard_0_1`. They are read as data: an object of whatever class is its name and its fields.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/dist_checkpointing/strategies/common.py
import type { JsonObject } from "../../base/json.ts";
import type { RunArguments } from "../checkpoint.ts";
import type { ByteSource } from "../io/byte-source.ts";
import { type Folder, has } from "../io/folder.ts";
import {
  isTuple,
  kindOf,
  PickleDict,
  PickleGlobal,
  PickleList,
  PickleObject,
  type PickleValue,
} from "../pickle/value.ts";
import { OBJECT_GLOBALS } from "../pt/globals.ts";
import { openArchive } from "../torch/archive.ts";
import { openZip } from "../zip/reader.ts";

export const COMMON_FILE = "common.pt";
export const COMMON_ENTRY = /^common_state\/shard_0_\d+$/;

/** Lists in lists, and how many values there may be: arguments are flat. */
const DEEPEST = 8;

/** Null where the folder has none. @param entry of `common_state`, which `.metadata` names */
export function runArguments(folder: Folder, entry: ByteSource | null): RunArguments | null {
  if (has(folder, COMMON_FILE)) {
    const file = folder.open(COMMON_FILE);
    try {
      return argumentsIn(file, COMMON_FILE, folder.pathOf(COMMON_FILE));
    } finally {
      file.close();
    }
  }
  return entry === null ? null : argumentsIn(entry, ".metadata", entry.name);
}

function argumentsIn(source: ByteSource, file: string, path: string): RunArguments | null {
  const { value: saved } = openArchive(openZip(source, { file: path }), OBJECT_GLOBALS);
  const value = saved instanceof PickleList && saved.items.length === 1 ? saved.items[0] : saved; // an entry wraps it
  const args = value instanceof PickleDict ? value.get("args") : undefined;
  const fields = args instanceof PickleObject ? args.state : args;
  if (!(fields instanceof PickleDict)) return null;
  return { path, file, args: objectOf(fields, 0) };
}

function objectOf(dict: PickleDict, depth: number): JsonObject {
  const fields = [...dict.entries()].flatMap(([key, value]) =>
    typeof key === "string" ? [[key, jsonOf(value, depth)] as const] : [],
  );
  return Object.fromEntries(fields);
}

/** Numbers, text and lists as they are; the name of a class or a function for what is of it. */
function jsonOf(value: PickleValue, depth: number): unknown {
  if (value === null || typeof value === "boolean" || typeof value === "number" || typeof value === "string")
    return value;
  if (depth > DEEPEST) return kindOf(value);
  if (isTuple(value)) return value.map((item) => jsonOf(item, depth + 1));
  if (value instanceof PickleList) return value.items.map((item) => jsonOf(item, depth + 1));
  if (value instanceof PickleDict) return objectOf(value, depth + 1);
  return value instanceof PickleGlobal ? value.name.replace(" ", ".") : kindOf(value);
}

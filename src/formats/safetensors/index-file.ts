// The index of a sharded checkpoint: { "metadata"?: {…}, "weight_map": { key: file } }.
import { posix, win32 } from "node:path";
import { InputError } from "../../base/errors.ts";
import {
  JsonDuplicateKeyError,
  type JsonMap,
  JsonSyntaxError,
  type JsonValue,
  parseStrictJson,
} from "../../base/strict-json.ts";
import { readBytes } from "../io/byte-source.ts";
import { decodeUtf8, type Folder } from "../io/folder.ts";
import { compareKeys } from "./encode.ts";

/** Limit for an index: that of a header, which says more of each tensor. */
const MAX_INDEX_BYTES = 100_000_000;

/** Tensor → file, relative to the folder of the index. */
export type WeightMap = ReadonlyMap<string, string>;

interface Fault {
  readonly tensor?: string;
  readonly expected?: string;
  readonly found?: string;
  readonly help?: string;
  readonly cause?: unknown;
}

function fail(code: string, file: string, problem: string, fault: Fault = {}): never {
  const { help = "fetch or write the index again", ...rest } = fault;
  throw new InputError(code, `${file}: ${problem}`, { ...rest, file, help });
}

/** Text of an index. Throws InputError SAFETENSORS_INDEX_TOO_LARGE, SAFETENSORS_INDEX_NOT_UTF8. */
export function readIndex(folder: Folder, name: string, shown?: string): string {
  const source = folder.open(name, shown);
  try {
    const { name: file, byteLength } = source;
    if (byteLength > MAX_INDEX_BYTES) {
      fail("SAFETENSORS_INDEX_TOO_LARGE", file, `the index has ${byteLength} bytes`, {
        expected: `at most ${MAX_INDEX_BYTES} bytes`,
        found: `${byteLength} bytes`,
        help: "check that this is the index of a checkpoint",
      });
    }
    return decodeUtf8(readBytes(source, 0, byteLength), (cause) =>
      fail("SAFETENSORS_INDEX_NOT_UTF8", file, "the index is not valid UTF-8", { cause }),
    );
  } finally {
    source.close();
  }
}

/** Parses an index. Refuses what would read outside its folder. Throws InputError. */
export function parseIndex(text: string, file: string): WeightMap {
  const root = parseJson(text, file);
  if (!(root instanceof Map)) return fail("SAFETENSORS_INDEX_NOT_OBJECT", file, "the index is no JSON object");
  const map = root.get("weight_map");
  if (map === undefined) {
    return fail("SAFETENSORS_INDEX_NO_WEIGHT_MAP", file, "the index has no weight_map", {
      expected: '"weight_map": { "tensor": "file" }',
      found: [...root.keys()].join(", ") || "an empty object",
    });
  }
  if (!(map instanceof Map))
    return fail("SAFETENSORS_INDEX_WEIGHT_MAP_NOT_OBJECT", file, "its weight_map is no object");
  if (map.size === 0) return fail("SAFETENSORS_INDEX_EMPTY", file, "its weight_map lists no tensor");
  return namesShards(map, file) ? map : new Map();
}

function parseJson(text: string, file: string): JsonValue {
  try {
    return parseStrictJson(text);
  } catch (error) {
    if (error instanceof JsonSyntaxError) {
      return fail("SAFETENSORS_INDEX_JSON", file, `the index is not valid JSON: ${error.message}`);
    }
    if (error instanceof JsonDuplicateKeyError) {
      const { path, key } = error;
      const help = "readers disagree on which of the two counts: write the index again with one of them";
      if (path.length === 1 && path[0] === "weight_map") {
        fail("SAFETENSORS_INDEX_DUPLICATE_TENSOR", file, `the index lists tensor ${JSON.stringify(key)} twice`, {
          tensor: key,
          help,
        });
      }
      fail(
        "SAFETENSORS_INDEX_DUPLICATE_KEY",
        file,
        `the index has the key ${JSON.stringify([...path, key].join("."))} twice`,
        { help },
      );
    }
    throw error;
  }
}

/** True, or throws. Some hundred names come for as many as 100,000 tensors: each is looked at once. */
function namesShards(map: JsonMap, file: string): map is WeightMap {
  const seen = new Set<JsonValue>();
  for (const [tensor, name] of map) {
    if (seen.has(name)) continue;
    checkShardName(tensor, name, file);
    seen.add(name);
  }
  return true;
}

function checkShardName(tensor: string, name: JsonValue, file: string): void {
  if (typeof name !== "string") {
    fail("SAFETENSORS_INDEX_FILE_NOT_STRING", file, `tensor ${JSON.stringify(tensor)}: its file is no string`, {
      tensor,
    });
  }
  const shown = JSON.stringify(name);
  const subject = `tensor ${JSON.stringify(tensor)}: its file ${shown}`;
  const help = "a shard must lie in the folder of its index; correct the weight_map if you trust this checkpoint";
  if (posix.isAbsolute(name) || win32.isAbsolute(name) || /^[a-z]:/i.test(name)) {
    fail("SAFETENSORS_INDEX_ABSOLUTE_PATH", file, `${subject} is an absolute path`, {
      tensor,
      found: name,
      help,
    });
  }
  const parts = name.split(/[/\\]/);
  if (parts.includes("..")) {
    fail("SAFETENSORS_INDEX_PATH_ESCAPES", file, `${subject} leads out of the folder`, {
      tensor,
      found: name,
      help,
    });
  }
  // One spelling per file, so that no shard is counted twice.
  if (name.includes("\0") || name.includes("\\") || parts.includes("") || parts.includes(".")) {
    fail("SAFETENSORS_INDEX_PATH_INVALID", file, `${subject} is no plain relative path`, {
      tensor,
      found: name,
      help,
    });
  }
}

/**
 * Index text as transformers writes it: huggingface/transformers@v5.23.0:src/transformers/modeling_utils.py
 * (`save_pretrained`): json.dumps(index, indent=2, sort_keys=True) and a newline.
 */
export function encodeIndex(weightMap: WeightMap, totalParameters: number, totalSize: number): string {
  const files = new Map([...new Set(weightMap.values())].map((file) => [file, asciiJson(file)]));
  let entries = "";
  for (const tensor of [...weightMap.keys()].sort(compareKeys))
    entries += `${entries === "" ? "" : ",\n"}    ${asciiJson(tensor)}: ${files.get(weightMap.get(tensor)!)}`;
  return `{
  "metadata": {
    "total_parameters": ${totalParameters},
    "total_size": ${totalSize}
  },
  "weight_map": {
${entries}
  }
}
`;
}

const PRINTABLE = /^[ -~]*$/;

/** Python's `ensure_ascii`: everything outside ' ' to '~' as \uXXXX. */
function asciiJson(text: string): string {
  const json = JSON.stringify(text);
  return PRINTABLE.test(json)
    ? json
    : json.replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

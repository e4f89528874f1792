// The header of a safetensors file: u64 length, JSON, data. Rules of huggingface/safetensors@v0.8.0:safetensors/src/tensor.rs
// (`read_metadata`, `validate`), and stricter where that lets a fault pass: duplicate keys, text before the first `{`.

import {
  JsonDuplicateKeyError,
  JsonKeysError,
  JsonSyntaxError,
  type JsonValue,
  parseStrictJson,
  type StrictJsonOptions,
} from "../../base/strict-json.ts";
import { type HeaderTensor, parseEntry } from "./entry.ts";
import { Faults, kindOf } from "./header-faults.ts";
import { PlainEntries } from "./plain-entry.ts";

/** Bytes of the length field. */
export const LENGTH_BYTES = 8;
/** `MAX_HEADER_SIZE` of the library. */
export const MAX_HEADER_BYTES = 100_000_000;
export const METADATA_KEY = "__metadata__";
/** Keys of `__metadata__`. The official library writes one for each name of a shared tensor at most. */
const MAX_METADATA_KEYS = 100_000;
/** Characters of a tensor's name (published ones have some 150), and of `__metadata__` (pictures in it have megabytes). */
const MAX_NAME_LENGTH = 4096;
const MAX_METADATA_LENGTH = 1 << 25;

export type { HeaderTensor } from "./entry.ts";

export interface Header {
  readonly metadata: Readonly<Record<string, string>> | null;
  /** In the order of the data, which they cover without hole or overlap. */
  readonly tensors: readonly HeaderTensor[];
  readonly dataBytes: number;
  /**
   * Characters of the text that are entries of tensors, as far as the official writer spells them so; 0 where they are in
   * another order than the data.
   */
  readonly plainLength: number;
}

/**
 * Header length from the first bytes of a file (8, or the whole file where it is shorter).
 * Throws InputError where file or header cannot be what the length says.
 */
export function headerLength(prefix: Uint8Array, fileBytes: number, file: string): number {
  const faults = new Faults(file);
  if (fileBytes < LENGTH_BYTES) {
    faults.fail("SAFETENSORS_TOO_SMALL", `the file has ${fileBytes} bytes, too few for the header length`, {
      expected: "at least 8 bytes",
      found: `${fileBytes} bytes`,
    });
  }
  const length = new DataView(prefix.buffer, prefix.byteOffset, LENGTH_BYTES).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) {
    faults.fail(
      "SAFETENSORS_HEADER_TOO_LARGE",
      `the header length field says ${length} bytes, the limit is ${MAX_HEADER_BYTES}`,
      {
        expected: `at most ${MAX_HEADER_BYTES} bytes`,
        found: `${length} bytes`,
        help: "check that this is a safetensors file at all; the format allows headers of up to 100 MB",
      },
    );
  }
  const left = fileBytes - LENGTH_BYTES;
  if (Number(length) > left) {
    faults.fail("SAFETENSORS_HEADER_TRUNCATED", `the file ends inside its header`, {
      expected: `${length} header bytes`,
      found: `${left} bytes`,
      help: "the download or copy is incomplete: fetch the file again",
    });
  }
  return Number(length);
}

/** Text of the header, without a byte lost: encoding it again gives `bytes`. Throws InputError where it is no UTF-8. */
export function decodeHeader(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return new Faults(file).fail("SAFETENSORS_HEADER_NOT_UTF8", "the header is not valid UTF-8");
  }
}

/** Names as they are kept elsewhere. What is cut out of a text keeps all of it: of headers, megabytes a file. */
export type KnownNames = ReadonlyMap<string, string>;

/** Parses and validates header text against the bytes that follow it. Throws InputError. */
export function parseHeader(text: string, dataBytes: number, file: string, known?: KnownNames): Header {
  const header = parseHeaderText(text, file, known);
  const faults = new Faults(file);
  const counts = { expected: `${header.dataBytes} data bytes`, found: `${dataBytes} bytes` };
  if (dataBytes < header.dataBytes) {
    faults.fail(
      "SAFETENSORS_TRUNCATED",
      `the file ends inside its data: ${header.dataBytes - dataBytes} bytes are missing`,
      {
        ...counts,
        help: "the download or copy is incomplete: fetch the file again",
      },
    );
  }
  if (dataBytes > header.dataBytes) {
    faults.fail("SAFETENSORS_TRAILING_BYTES", `${dataBytes - header.dataBytes} bytes follow the last tensor`, counts);
  }
  return header;
}

/** The same without a data section at hand; `dataBytes` of the result is what must follow. */
export function parseHeaderText(text: string, file: string, known?: KnownNames): Header {
  const faults = new Faults(file);
  if (!text.startsWith("{")) {
    const found = text === "" ? "an empty header" : JSON.stringify(text.slice(0, 8));
    faults.fail("SAFETENSORS_HEADER_START", "the header does not begin with '{'", { expected: "'{'", found });
  }
  let metadata: Header["metadata"] = null;
  let plainLength = 0;
  const tensors: HeaderTensor[] = [];
  const plain = new PlainEntries(text);
  const root = parseJson(text, faults, {
    taken(key, begin) {
      const tensor =
        key === METADATA_KEY || key.length > MAX_NAME_LENGTH ? null : plain.take(known?.get(key) ?? key, begin);
      if (tensor === null) return null;
      tensors.push(tensor);
      plainLength += plain.at - begin;
      return plain.at;
    },
    entry(key, value) {
      if (key === METADATA_KEY) metadata = parseMetadata(value, faults);
      else tensors.push(parseEntry(checkedName(key, faults), value, faults));
    },
  });
  if (!(root instanceof Map)) return faults.fail("SAFETENSORS_HEADER_NOT_OBJECT", "the header is no JSON object");
  const isSorted = tensors.every(({ begin }, i) => i === 0 || begin > tensors[i - 1]!.begin);
  if (!isSorted) tensors.sort((a, b) => a.begin - b.begin || a.end - b.end);
  const dataBytes = checkCoverage(tensors, faults);
  return { metadata, tensors, dataBytes, plainLength: isSorted ? plainLength : 0 };
}

function checkedName(key: string, faults: Faults): string {
  if (key.length <= MAX_NAME_LENGTH) return key;
  return faults.fail("SAFETENSORS_NAME_TOO_LONG", `the name of a tensor has ${key.length} characters`, {
    expected: `at most ${MAX_NAME_LENGTH} characters`,
    found: `${JSON.stringify(key.slice(0, 64))}…`,
  });
}

function parseJson(text: string, faults: Faults, options: StrictJsonOptions): JsonValue {
  try {
    return parseStrictJson(text, { innerKeys: MAX_METADATA_KEYS, ...options });
  } catch (error) {
    if (error instanceof JsonSyntaxError)
      faults.fail("SAFETENSORS_HEADER_JSON", `the header is not valid JSON: ${error.message}`);
    if (error instanceof JsonDuplicateKeyError) failDuplicate(error, faults);
    if (error instanceof JsonKeysError)
      faults.fail("SAFETENSORS_TOO_MANY_KEYS", `its header has ${error.message}`, {
        expected: `at most ${error.limit} keys`,
        help: "write the file again without these keys",
      });
    throw error;
  }
}

function failDuplicate({ path, key }: JsonDuplicateKeyError, faults: Faults): never {
  const help = "readers disagree on which of the two counts: write the file again with one of them";
  const name = JSON.stringify(key);
  const tensor = path[0];
  if (tensor === undefined && key === METADATA_KEY) {
    faults.fail("SAFETENSORS_DUPLICATE_METADATA", "the header has __metadata__ twice", { help });
  }
  if (tensor === undefined)
    faults.fail("SAFETENSORS_DUPLICATE_TENSOR", "the header lists it twice", { tensor: key, help });
  if (tensor === METADATA_KEY)
    faults.fail("SAFETENSORS_DUPLICATE_METADATA_KEY", `__metadata__ has the key ${name} twice`, { help });
  faults.fail("SAFETENSORS_DUPLICATE_FIELD", `its entry has the field ${name} twice`, { tensor, help });
}

function parseMetadata(value: JsonValue, faults: Faults): Header["metadata"] {
  if (value === null) return null;
  if (!(value instanceof Map)) {
    return faults.fail("SAFETENSORS_METADATA_NOT_OBJECT", "__metadata__ is no object", {
      expected: "an object",
      found: kindOf(value),
    });
  }
  const entries: [string, string][] = [];
  let length = 0;
  for (const [key, text] of value) {
    if (typeof text !== "string") {
      const problem = `__metadata__ has a value that is no string, at ${JSON.stringify(key)}`;
      return faults.fail("SAFETENSORS_METADATA_NOT_STRING", problem, { expected: "a string", found: kindOf(text) });
    }
    entries.push([key, text]);
    length += key.length + text.length;
  }
  if (length > MAX_METADATA_LENGTH) {
    return faults.fail("SAFETENSORS_METADATA_TOO_LONG", `__metadata__ has ${length} characters`, {
      expected: `at most ${MAX_METADATA_LENGTH} characters`,
      found: `${length} characters`,
    });
  }
  return Object.fromEntries(entries);
}

/** `tensors` by their offsets. Gives the bytes that they cover. */
function checkCoverage(tensors: readonly HeaderTensor[], faults: Faults): number {
  let at = 0;
  for (const [i, { key, begin, end }] of tensors.entries()) {
    if (begin !== at) {
      const before = i === 0 ? "the header" : JSON.stringify(tensors[i - 1]!.key);
      const places = { tensor: key, expected: `begin at ${at}`, found: `begin at ${begin}` };
      if (begin < at) faults.fail("SAFETENSORS_OVERLAP", `its data overlaps that of ${before}`, places);
      faults.fail("SAFETENSORS_HOLE", `${begin - at} bytes before it belong to no tensor`, places);
    }
    at = end;
  }
  return at;
}

// The header of a safetensors file: u64 length, JSON, data. Rules of huggingface/safetensors@v0.8.0:safetensors/src/tensor.rs
// (`read_metadata`, `validate`), and stricter where that lets a fault pass: duplicate keys, text before the first `{`.

import { bitsOf, type Dtype, elementCount, isDtype } from "../../base/dtype.ts";
import { InputError } from "../../base/errors.ts";
import {
  JsonDuplicateKeyError,
  JsonKeysError,
  type JsonMap,
  JsonNumber,
  JsonSyntaxError,
  type JsonValue,
  parseStrictJson,
} from "../../base/strict-json.ts";

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

export interface HeaderTensor {
  readonly key: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Byte range in the data section. */
  readonly begin: number;
  readonly end: number;
}

export interface Header {
  readonly metadata: Readonly<Record<string, string>> | null;
  /** In the order of the data, which they cover without hole or overlap. */
  readonly tensors: readonly HeaderTensor[];
  readonly dataBytes: number;
}

type Fault = { tensor?: string; expected?: string; found?: string; help?: string };

/** Builds the errors of one file. */
class Faults {
  readonly #file: string;
  constructor(file: string) {
    this.#file = file;
  }

  fail(code: string, problem: string, fault: Fault = {}): never {
    const { help = "download or write the file again: no reader can use it safely", ...rest } = fault;
    const subject = fault.tensor === undefined ? this.#file : `${this.#file}: tensor ${JSON.stringify(fault.tensor)}`;
    throw new InputError(code, `${subject}: ${problem}`, { ...rest, file: this.#file, help });
  }
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

/** Parses and validates header text against the bytes that follow it. Throws InputError. */
export function parseHeader(text: string, dataBytes: number, file: string): Header {
  const header = parseHeaderText(text, file);
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
export function parseHeaderText(text: string, file: string): Header {
  const faults = new Faults(file);
  if (!text.startsWith("{")) {
    const found = text === "" ? "an empty header" : JSON.stringify(text.slice(0, 8));
    faults.fail("SAFETENSORS_HEADER_START", "the header does not begin with '{'", { expected: "'{'", found });
  }
  let metadata: Header["metadata"] = null;
  const tensors: HeaderTensor[] = [];
  const root = parseJson(text, faults, (key, value) => {
    if (key === METADATA_KEY) metadata = parseMetadata(value, faults);
    else tensors.push(parseEntry(checkedName(key, faults), value, faults));
  });
  if (!(root instanceof Map)) return faults.fail("SAFETENSORS_HEADER_NOT_OBJECT", "the header is no JSON object");
  tensors.sort((a, b) => a.begin - b.begin || a.end - b.end);
  return { metadata, tensors, dataBytes: checkCoverage(tensors, faults) };
}

function checkedName(key: string, faults: Faults): string {
  if (key.length <= MAX_NAME_LENGTH) return key;
  return faults.fail("SAFETENSORS_NAME_TOO_LONG", `the name of a tensor has ${key.length} characters`, {
    expected: `at most ${MAX_NAME_LENGTH} characters`,
    found: `${JSON.stringify(key.slice(0, 64))}…`,
  });
}

function parseJson(text: string, faults: Faults, entry: (key: string, value: JsonValue) => void): JsonValue {
  try {
    return parseStrictJson(text, { innerKeys: MAX_METADATA_KEYS, entry });
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

/** Fields that the format does not know are ignored, as in the library. */
function parseEntry(key: string, entry: JsonValue, faults: Faults): HeaderTensor {
  if (!(entry instanceof Map)) {
    return faults.fail("SAFETENSORS_ENTRY_NOT_OBJECT", "its entry is no object", {
      tensor: key,
      expected: '{"dtype":…,"shape":…,"data_offsets":…}',
      found: kindOf(entry),
    });
  }
  const dtype = parseDtype(key, field(key, entry, "dtype", faults), faults);
  const shape = parseShape(key, field(key, entry, "shape", faults), faults);
  const [begin, end] = parseOffsets(key, field(key, entry, "data_offsets", faults), faults);
  const bytes = payloadBytes(key, dtype, shape, faults);
  if (BigInt(end - begin) !== BigInt(bytes)) {
    faults.fail(
      "SAFETENSORS_SIZE_MISMATCH",
      `${dtype} [${shape.join(", ")}] takes ${bytes} bytes, its offsets give ${end - begin}`,
      {
        tensor: key,
        expected: `${bytes} bytes`,
        found: `${end - begin} bytes`,
      },
    );
  }
  return { key, dtype, shape, begin, end };
}

function field(tensor: string, entry: JsonMap, name: string, faults: Faults): JsonValue {
  const value = entry.get(name);
  if (value !== undefined) return value;
  return faults.fail("SAFETENSORS_FIELD_MISSING", `its entry has no ${name}`, {
    tensor,
    expected: "dtype, shape and data_offsets",
    found: [...entry.keys()].join(", ") || "no field",
  });
}

function parseDtype(tensor: string, value: JsonValue, faults: Faults): Dtype {
  if (typeof value !== "string") {
    return faults.fail("SAFETENSORS_DTYPE_NOT_STRING", "its dtype is no string", { tensor, found: kindOf(value) });
  }
  if (!isDtype(value)) {
    return faults.fail("SAFETENSORS_DTYPE_UNKNOWN", `unknown dtype ${JSON.stringify(value)}`, {
      tensor,
      expected: "a dtype of safetensors 0.8",
      found: value,
      help: "the file was written for a later version of the format, or is damaged",
    });
  }
  return value;
}

function parseShape(tensor: string, value: JsonValue, faults: Faults): number[] {
  if (!Array.isArray(value)) {
    return faults.fail("SAFETENSORS_SHAPE_NOT_LIST", "its shape is no list", { tensor, found: kindOf(value) });
  }
  return value.map((n: JsonValue) => size(tensor, n, "SAFETENSORS_SHAPE_INVALID", "its shape", faults));
}

function parseOffsets(tensor: string, value: JsonValue, faults: Faults): [number, number] {
  if (!Array.isArray(value) || value.length !== 2) {
    const found = Array.isArray(value) ? `${value.length} items` : kindOf(value);
    return faults.fail("SAFETENSORS_OFFSETS_NOT_PAIR", "its data_offsets are no pair", {
      tensor,
      expected: "[begin, end]",
      found,
    });
  }
  const begin = size(tensor, value[0], "SAFETENSORS_OFFSETS_INVALID", "its data_offsets", faults);
  const end = size(tensor, value[1], "SAFETENSORS_OFFSETS_INVALID", "its data_offsets", faults);
  if (end >= begin) return [begin, end];
  return faults.fail("SAFETENSORS_OFFSETS_REVERSED", "its data_offsets run backwards", {
    tensor,
    found: `[${begin}, ${end}]`,
  });
}

/** A whole number from 0 to 2^53 - 1. */
function size(tensor: string, value: JsonValue, code: string, where: string, faults: Faults): number {
  if (typeof value === "number" && value >= 0) return value;
  const found = value instanceof JsonNumber ? value.text : typeof value === "number" ? String(value) : kindOf(value);
  if (value instanceof JsonNumber && /^\d+$/.test(value.text)) {
    return faults.fail("SAFETENSORS_NUMBER_TOO_LARGE", `${where} holds ${found}, more than any file can have`, {
      tensor,
      expected: `at most ${Number.MAX_SAFE_INTEGER}`,
      found,
    });
  }
  return faults.fail(code, `${where} holds ${found}`, { tensor, expected: "whole numbers from 0", found });
}

/** Overflow is counted in u64, as the library does; BigInt only where the size passes 2^53. */
function payloadBytes(tensor: string, dtype: Dtype, shape: readonly number[], faults: Faults): number | bigint {
  const quickBits = elementCount(shape) * bitsOf(dtype);
  const exact = shape.every((n) => n > 0) && Number.isSafeInteger(quickBits);
  if (exact && quickBits % 8 === 0) return quickBits / 8;
  const limit = 2n ** 64n;
  let elements = 1n;
  for (const n of shape) {
    elements *= BigInt(n);
    if (elements >= limit) break;
  }
  const bits = elements * BigInt(bitsOf(dtype));
  if (bits >= limit) {
    return faults.fail("SAFETENSORS_SHAPE_OVERFLOW", `the size of ${dtype} [${shape.join(", ")}] overflows`, {
      tensor,
    });
  }
  if (bits % 8n !== 0n) {
    return faults.fail(
      "SAFETENSORS_SUB_BYTE_MISALIGNED",
      `${dtype} [${shape.join(", ")}] does not end at a byte boundary`,
      {
        tensor,
        expected: "a multiple of 8 bits",
        found: `${bits} bits`,
      },
    );
  }
  return bits / 8n;
}

/** `tensors` by their offsets. Gives the bytes that they cover. */
function checkCoverage(tensors: readonly HeaderTensor[], faults: Faults): number {
  let at = 0;
  let before = "the header";
  for (const { key, begin, end } of tensors) {
    if (begin !== at) {
      const places = { tensor: key, expected: `begin at ${at}`, found: `begin at ${begin}` };
      if (begin < at) faults.fail("SAFETENSORS_OVERLAP", `its data overlaps that of ${before}`, places);
      faults.fail("SAFETENSORS_HOLE", `${begin - at} bytes before it belong to no tensor`, places);
    }
    at = end;
    before = JSON.stringify(key);
  }
  return at;
}

function kindOf(value: JsonValue): string {
  if (value === null) return "null";
  if (value instanceof Map) return "an object";
  if (value instanceof JsonNumber) return `the number ${value.text}`;
  return Array.isArray(value) ? "a list" : `the ${typeof value} ${JSON.stringify(value)}`;
}

// The entry of a tensor in a header: its dtype, shape and place, which have to agree.
import { bitsOf, type Dtype, elementCount, isDtype } from "../../base/dtype.ts";
import { type JsonMap, JsonNumber, type JsonValue } from "../../base/strict-json.ts";
import { type Faults, kindOf } from "./header-faults.ts";

export interface HeaderTensor {
  readonly key: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Byte range in the data section. */
  readonly begin: number;
  readonly end: number;
}

/** Fields that the format does not know are ignored, as in the library. */
export function parseEntry(key: string, entry: JsonValue, faults: Faults): HeaderTensor {
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

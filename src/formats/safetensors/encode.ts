// The header as the official writer makes it: huggingface/safetensors@v0.8.0:safetensors/src/tensor.rs (`prepare`).

import { byteLengthOf, DTYPES, type Dtype } from "../../base/dtype.ts";
import { InputError } from "../../base/errors.ts";
import { type HeaderTensor, LENGTH_BYTES, MAX_HEADER_BYTES, METADATA_KEY } from "./header.ts";

export type Metadata = Readonly<Record<string, string>>;

export interface NewTensor {
  readonly key: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

/** Order of Rust's strings: by UTF-8 bytes, which is by code point and not by UTF-16 unit. */
export function compareKeys(a: string, b: string): number {
  if (a === b) return 0;
  // Only surrogates sort differently.
  if (!SURROGATE.test(a) && !SURROGATE.test(b)) return a < b ? -1 : 1;
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

const SURROGATE = /[\ud800-\udfff]/;
const RANK = new Map(DTYPES.map((dtype, rank) => [dtype, rank]));

/** Places tensors as the official writer does: larger alignment first, then by name. */
export function placeTensors(tensors: readonly NewTensor[]): HeaderTensor[] {
  const rank = ({ dtype }: NewTensor) => RANK.get(dtype) ?? 0;
  let at = 0;
  return [...tensors]
    .sort((a, b) => rank(b) - rank(a) || compareKeys(a.key, b.key))
    .map((tensor) => {
      const begin = at;
      at += byteLengthOf(tensor.dtype, tensor.shape);
      return { key: tensor.key, dtype: tensor.dtype, shape: tensor.shape, begin, end: at };
    });
}

/**
 * Header text of placed tensors, padded with spaces to a multiple of 8 bytes. Metadata keys stay in the order given:
 * the official writer's order is that of a Rust HashMap, another one in each run.
 */
export function encodeHeaderText(tensors: readonly HeaderTensor[], metadata: Metadata | null): string {
  const text = `{${[...entryTexts(tensors, metadata)].join(",")}}`;
  return text + paddingOf(text);
}

/** Whether `text` is what `encodeHeaderText` gives; up to the first difference. */
export function isHeaderText(text: string, tensors: readonly HeaderTensor[], metadata: Metadata | null): boolean {
  let at = 0;
  let before = "{";
  for (const entry of entryTexts(tensors, metadata)) {
    if (!text.startsWith(before, at) || !text.startsWith(entry, at + before.length)) return false;
    at += before.length + entry.length;
    before = ",";
  }
  if (at === 0) at = 1;
  return text.startsWith("{") && text.slice(at) === `}${paddingOf(`${text.slice(0, at)}}`)}`;
}

function* entryTexts(tensors: readonly HeaderTensor[], metadata: Metadata | null): Generator<string> {
  if (metadata !== null) yield `"${METADATA_KEY}":${JSON.stringify(metadata)}`;
  for (const { key, dtype, shape, begin, end } of tensors)
    yield `${JSON.stringify(key)}:{"dtype":"${dtype}","shape":[${shape.join(",")}],"data_offsets":[${begin},${end}]}`;
}

const paddingOf = (text: string): string => " ".repeat(-Buffer.byteLength(text) & (LENGTH_BYTES - 1));

/** Length field and header. Throws InputError where the header passes the limit of the format. */
export function headerBytes(text: string, file: string): Uint8Array {
  const byteLength = Buffer.byteLength(text);
  if (byteLength > MAX_HEADER_BYTES) {
    throw new InputError("SAFETENSORS_HEADER_TOO_LARGE", `${file}: its header would take ${byteLength} bytes`, {
      file,
      expected: `at most ${MAX_HEADER_BYTES} bytes`,
      found: `${byteLength} bytes`,
      help: "write smaller shards, so that each lists fewer tensors",
    });
  }
  const bytes = Buffer.alloc(LENGTH_BYTES + byteLength);
  bytes.writeBigUInt64LE(BigInt(byteLength));
  bytes.write(text, LENGTH_BYTES);
  return bytes;
}

// The header as the official writer makes it: huggingface/safetensors@v0.8.0:safetensors/src/tensor.rs (`prepare`).

import { byteLengthOf, DTYPES, type Dtype } from "../../base/dtype.ts";
import { InputError } from "../../base/errors.ts";
import { type Header, type HeaderTensor, LENGTH_BYTES, MAX_HEADER_BYTES, METADATA_KEY } from "./header.ts";

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
const rankOf = ({ dtype }: NewTensor): number => RANK.get(dtype) ?? 0;

/** Places tensors as the official writer does: larger alignment first, then by name. */
export function placeTensors(tensors: readonly NewTensor[]): HeaderTensor[] {
  let at = 0;
  return [...tensors]
    .sort((a, b) => rankOf(b) - rankOf(a) || compareKeys(a.key, b.key))
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

/** Whether a header's text is what `encodeHeaderText` gives for its tensors, placed as the official writer does. */
export function isCanonical(text: string, { tensors, metadata, plainLength }: Header): boolean {
  return (
    (isPlain(text, tensors, metadata, plainLength) && isInOrder(tensors)) ||
    isHeaderText(text, placeTensors(tensors), metadata)
  );
}

/**
 * Whether a header's text has nothing beside the entries of its tensors, with plain keys and in the order of the data, and
 * what belongs between them. Where it does not, it may be canonical all the same.
 */
function isPlain(
  text: string,
  tensors: readonly HeaderTensor[],
  metadata: Metadata | null,
  plainLength: number,
): boolean {
  const [first] = tensors;
  const begin = metadata === null ? "{" : `{"${METADATA_KEY}":${JSON.stringify(metadata)},`;
  if (first === undefined || !text.startsWith(`${begin}"${first.key}":{`)) return false;
  // A key in quotes, a colon, and the comma or brace behind the entry.
  let length = begin.length + plainLength + 4 * tensors.length;
  for (const { key } of tensors) length += key.length;
  return text.startsWith("}", length - 1) && text.slice(length) === paddingOf(text.slice(0, length));
}

/** Strictly: then there is no other order of the official writer. */
const isInOrder = (tensors: readonly HeaderTensor[]): boolean =>
  tensors.every((tensor, i) => {
    const before = tensors[i - 1];
    if (before === undefined) return true;
    const ranks = rankOf(before) - rankOf(tensor);
    return ranks > 0 || (ranks === 0 && compareKeys(before.key, tensor.key) < 0);
  });

/** Whether `text` is what `encodeHeaderText` gives; up to the first difference. */
function isHeaderText(text: string, tensors: readonly HeaderTensor[], metadata: Metadata | null): boolean {
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

// Headers as the official writer spells them are read without a tree of JSON, and told from others by their length. Both have
// to say what the long way says.
import { describe, expect, test } from "vitest";
import type { Dtype } from "../../../src/base/dtype.ts";
import { InputError } from "../../../src/base/errors.ts";
import { encodeHeaderText, isCanonical, placeTensors } from "../../../src/formats/safetensors/encode.ts";
import { parseHeaderText } from "../../../src/formats/safetensors/header.ts";

const tensor = (key: string, dtype: Dtype, ...shape: number[]) => ({ key, dtype, shape });
const tensors = [
  tensor("b", "BF16", 2, 3),
  tensor("a.weight", "F32", 4),
  tensor("é", "F32"),
  tensor("c", "F4", 2, 2),
  tensor("d", "I64", 300, 1),
];
const metadata = { format: "pt", "a key": 'a "value"' };
const canonical = encodeHeaderText(placeTensors(tensors), metadata);

/** Each is valid. The first is canonical, and those that say so. */
const texts: Readonly<Record<string, string>> = {
  "as the writer makes it": canonical,
  "without metadata, which is canonical": encodeHeaderText(placeTensors(tensors), null),
  "one tensor, which is canonical": encodeHeaderText(placeTensors([tensor("x", "U8", 8)]), null),
  "an empty tensor among others, which is canonical": encodeHeaderText(
    placeTensors([...tensors, tensor("none", "F32", 0, 7)]),
    metadata,
  ),
  "a key that needs an escape, which is canonical": encodeHeaderText(
    placeTensors([...tensors, tensor('"\\\n', "F32", 1)]),
    metadata,
  ),
  "no tensor, which is canonical": encodeHeaderText([], null),
  "a space inside": canonical.replace('"dtype":"F32"', '"dtype": "F32"'),
  "a space between": canonical.replace("},", "}, "),
  "a space before the end": canonical.replace(/\}( *)$/, " }$1"),
  "a space in place of one of the padding": canonical.replace('"a.weight":', '"a.weight" :').replace(/ $/, ""),
  "more padding": `${canonical}        `,
  "less padding": canonical.trimEnd(),
  "an escape that nobody needs": canonical.replace('"a.weight"', '"a\\u002eweight"'),
  "metadata at the end": canonical.replace(/^\{("__metadata__":\{.*?\}),(.*)\}( *)$/, "{$2,$1}$3"),
  "metadata of null": canonical.replace(/"__metadata__":\{.*?\},/, '"__metadata__":null,'),
  "another field": canonical.replace('"dtype":"BF16"', '"more":1,"dtype":"BF16"'),
  "fields in another order": canonical.replace(/"dtype":"BF16","shape":\[2,3\]/, '"shape":[2,3],"dtype":"BF16"'),
  "text in another order than the data": canonical.replace(/("a\.weight":\{.*?\}),("é":\{.*?\})/, "$2,$1"),
  "data in another order": encodeHeaderText(
    [
      { ...tensor("z", "U8", 8), begin: 0, end: 8 },
      { ...tensor("a", "U8", 8), begin: 8, end: 16 },
    ],
    null,
  ),
  "smaller alignment first": encodeHeaderText(
    [
      { ...tensor("a", "U8", 8), begin: 0, end: 8 },
      { ...tensor("b", "F32", 2), begin: 8, end: 16 },
    ],
    null,
  ),
};

describe.each(Object.entries(texts))("%s", (name, text) => {
  const header = parseHeaderText(text, "f");

  test("is read as the long way reads it", () => {
    // A space before each colon: no entry is plain.
    const long = parseHeaderText(text.replaceAll('":', '" :'), "f");
    expect(long.plainLength).toBe(0);
    expect({ ...header, plainLength: 0 }).toEqual(long);
  });

  test("is canonical where it is what the writer makes", () => {
    const expected = text === encodeHeaderText(placeTensors(header.tensors), header.metadata);
    expect(isCanonical(text, header)).toBe(expected);
    expect(expected).toBe(name === "as the writer makes it" || name.endsWith("which is canonical"));
  });
});

const faults: Readonly<Record<string, readonly [from: string | RegExp, to: string, code: string]>> = {
  "a leading zero in a shape": ["[2,3]", "[02,3]", "SAFETENSORS_HEADER_JSON"],
  "a leading zero in an offset": [/"data_offsets":\[0,/, '"data_offsets":[00,', "SAFETENSORS_HEADER_JSON"],
  "a comma at the end of a shape": ["[2,3]", "[2,3,]", "SAFETENSORS_HEADER_JSON"],
  "a negative size": ["[2,3]", "[-2,3]", "SAFETENSORS_SHAPE_INVALID"],
  "a size that is no integer": ["[2,3]", "[2.0,3]", "SAFETENSORS_SHAPE_INVALID"],
  "a shape of another size": ["[2,3]", "[2,4]", "SAFETENSORS_SIZE_MISMATCH"],
  "a dtype that nobody knows": ['"BF16"', '"BF17"', "SAFETENSORS_DTYPE_UNKNOWN"],
  "a number of too many digits": ["[2,3]", "[2,30000000000000000]", "SAFETENSORS_NUMBER_TOO_LARGE"],
  "a key twice": ['"b":', '"a.weight":', "SAFETENSORS_DUPLICATE_TENSOR"],
  "a field twice": ['"dtype":"BF16"', '"dtype":"BF16","dtype":"BF16"', "SAFETENSORS_DUPLICATE_FIELD"],
  "no end": [/\]\} *\} *$/, "]", "SAFETENSORS_HEADER_JSON"],
};

test.each(Object.entries(faults))("%s is told as ever", (_, [from, to, code]) => {
  const text = canonical.replace(from, to);
  expect(text).not.toBe(canonical);
  let found: unknown;
  try {
    parseHeaderText(text, "f");
  } catch (error) {
    found = error;
  }
  expect(found).toBeInstanceOf(InputError);
  expect(found).toMatchObject({ code });
});

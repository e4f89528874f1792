// Broken and hostile safetensors files and indexes, by bytes; each with the code that must refuse it.
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

export interface BrokenCase {
  readonly name: string;
  readonly code: string;
  /** Writes the case into an empty folder and gives the path to open. */
  write(folder: string): string;
}

type Bytes = Uint8Array | string;

const bytesOf = (part: Bytes): Buffer => Buffer.from(part);

/** Length field, header as it stands, data. */
export const rawFile = (header: Bytes, data: Bytes = ""): Buffer => {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(bytesOf(header).length));
  return Buffer.concat([length, bytesOf(header), bytesOf(data)]);
};

const lengthField = (value: bigint): Buffer => {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(value);
  return length;
};

const entry = (dtype: string, shape: string, offsets: string) =>
  `{"dtype":"${dtype}","shape":${shape},"data_offsets":${offsets}}`;

/** A good entry of four bytes. */
const A = `"a":${entry("F32", "[1]", "[0,4]")}`;
const B = `"b":${entry("F32", "[1]", "[4,8]")}`;
const FOUR = "1234";
const EIGHT = "12345678";

type FileCase = readonly [name: string, code: string, bytes: Uint8Array];

const one = (fields: string, data: Bytes = FOUR) => rawFile(`{"a":{${fields}}}`, data);
const shaped = (dtype: string, shape: string, offsets: string, data: Bytes = FOUR) =>
  rawFile(`{"a":${entry(dtype, shape, offsets)}}`, data);

const LENGTH_CASES: readonly FileCase[] = [
  ["empty file", "TOO_SMALL", Buffer.alloc(0)],
  ["seven bytes", "TOO_SMALL", Buffer.alloc(7)],
  ["length field above the limit", "HEADER_TOO_LARGE", Buffer.concat([lengthField(100_000_001n), Buffer.from("{}")])],
  ["length field of 2^64 - 1", "HEADER_TOO_LARGE", Buffer.concat([lengthField(2n ** 64n - 1n), Buffer.from("{}")])],
  ["file ends after the length", "HEADER_TRUNCATED", lengthField(10n)],
  ["file ends inside the header", "HEADER_TRUNCATED", rawFile(`{${A}}`).subarray(0, 30)],
  ["header of no bytes", "HEADER_START", rawFile("")],
];

const JSON_CASES: readonly FileCase[] = [
  ["invalid UTF-8", "HEADER_NOT_UTF8", rawFile(Buffer.from(`{"\xff":1}`, "latin1"), "")],
  ["overlong UTF-8", "HEADER_NOT_UTF8", rawFile(Buffer.from(`{"\xc0\x80":1}`, "latin1"), "")],
  ["space before the brace", "HEADER_START", rawFile(` {${A}}`, FOUR)],
  ["byte order mark", "HEADER_START", rawFile(`\ufeff{${A}}`, FOUR)],
  ["header is a list", "HEADER_START", rawFile("[]")],
  ["header is null", "HEADER_START", rawFile("null")],
  ["brace not closed", "HEADER_JSON", rawFile(`{${A}`, FOUR)],
  ["trailing comma", "HEADER_JSON", rawFile(`{${A},}`, FOUR)],
  ["second value", "HEADER_JSON", rawFile(`{${A}}{}`, FOUR)],
  ["padded with zero bytes", "HEADER_JSON", rawFile(`{${A}}\0\0`, FOUR)],
  ["single quotes", "HEADER_JSON", rawFile(`{'a':${entry("F32", "[1]", "[0,4]")}}`, FOUR)],
  ["control character in a name", "HEADER_JSON", rawFile(`{"a\n":${entry("F32", "[1]", "[0,4]")}}`, FOUR)],
  ["lone surrogate", "HEADER_JSON", rawFile(`{"\\ud800":${entry("F32", "[1]", "[0,4]")}}`, FOUR)],
  ["unknown escape", "HEADER_JSON", rawFile(`{"\\x41":${entry("F32", "[1]", "[0,4]")}}`, FOUR)],
  ["leading zero", "HEADER_JSON", shaped("F32", "[01]", "[0,4]")],
  ["NaN", "HEADER_JSON", one(`"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":NaN`)],
  ["number beyond f64", "HEADER_JSON", one(`"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1e999`)],
  ["200 levels", "HEADER_JSON", one(`"dtype":"F32","shape":${"[".repeat(200)}${"]".repeat(200)}`)],
  ["comment", "HEADER_JSON", rawFile(`{/**/${A}}`, FOUR)],
];

const DUPLICATE_CASES: readonly FileCase[] = [
  ["tensor twice, different", "DUPLICATE_TENSOR", rawFile(`{${A},"a":${entry("F32", "[1]", "[4,8]")}}`, EIGHT)],
  ["tensor twice, equal", "DUPLICATE_TENSOR", rawFile(`{${A},${A}}`, FOUR)],
  ["tensor twice, one escaped", "DUPLICATE_TENSOR", rawFile(`{${A},"\\u0061":${entry("F32", "[1]", "[0,4]")}}`, FOUR)],
  ["dtype twice", "DUPLICATE_FIELD", one(`"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]`)],
  ["offsets twice", "DUPLICATE_FIELD", one(`"dtype":"F32","shape":[1],"data_offsets":[0,4],"data_offsets":[0,4]`)],
  ["metadata twice", "DUPLICATE_METADATA", rawFile(`{"__metadata__":{},"__metadata__":{},${A}}`, FOUR)],
  ["metadata key twice", "DUPLICATE_METADATA_KEY", rawFile(`{"__metadata__":{"k":"1","k":"1"},${A}}`, FOUR)],
];

const ENTRY_CASES: readonly FileCase[] = [
  ["metadata is a list", "METADATA_NOT_OBJECT", rawFile(`{"__metadata__":[],${A}}`, FOUR)],
  ["metadata value is a number", "METADATA_NOT_STRING", rawFile(`{"__metadata__":{"k":1},${A}}`, FOUR)],
  ["metadata value is null", "METADATA_NOT_STRING", rawFile(`{"__metadata__":{"k":null},${A}}`, FOUR)],
  ["entry is null", "ENTRY_NOT_OBJECT", rawFile('{"a":null}')],
  ["entry is a number", "ENTRY_NOT_OBJECT", rawFile('{"a":4}')],
  ["no dtype", "FIELD_MISSING", one(`"shape":[1],"data_offsets":[0,4]`)],
  ["no shape", "FIELD_MISSING", one(`"dtype":"F32","data_offsets":[0,4]`)],
  ["no offsets", "FIELD_MISSING", one(`"dtype":"F32","shape":[1]`)],
  ["unknown dtype", "DTYPE_UNKNOWN", shaped("F33", "[1]", "[0,4]")],
  ["dtype in lower case", "DTYPE_UNKNOWN", shaped("f32", "[1]", "[0,4]")],
  ["dtype is a number", "DTYPE_NOT_STRING", one(`"dtype":32,"shape":[1],"data_offsets":[0,4]`)],
  ["shape is a number", "SHAPE_NOT_LIST", shaped("F32", "1", "[0,4]")],
  ["negative size", "SHAPE_INVALID", shaped("F32", "[-1]", "[0,4]")],
  ["two negative sizes", "SHAPE_INVALID", shaped("F32", "[-1,-1]", "[0,4]")],
  ["fractional size", "SHAPE_INVALID", shaped("F32", "[1.5]", "[0,4]")],
  ["size 1.0", "SHAPE_INVALID", shaped("F32", "[1.0]", "[0,4]")],
  ["size -0", "SHAPE_INVALID", shaped("F32", "[-0]", "[0,0]", "")],
  ["size in quotes", "SHAPE_INVALID", shaped("F32", '["1"]', "[0,4]")],
  ["size of 2^64", "NUMBER_TOO_LARGE", shaped("F32", "[18446744073709551616]", "[0,4]")],
  ["product of sizes overflows", "SHAPE_OVERFLOW", shaped("F32", "[4294967296,4294967296,1]", "[0,4]")],
  ["product overflows before a zero", "SHAPE_OVERFLOW", shaped("U8", "[4503599627370496,8192,0]", "[0,0]", "")],
  ["bits overflow", "SHAPE_OVERFLOW", shaped("F64", "[4294967296,1073741824]", "[0,4]")],
];

const OFFSET_CASES: readonly FileCase[] = [
  ["offsets are an object", "OFFSETS_NOT_PAIR", shaped("F32", "[1]", "{}")],
  ["three offsets", "OFFSETS_NOT_PAIR", shaped("F32", "[1]", "[0,4,4]")],
  ["negative offset", "OFFSETS_INVALID", shaped("F32", "[1]", "[-4,0]")],
  ["fractional offset", "OFFSETS_INVALID", shaped("F32", "[1]", "[0,4.0]")],
  ["offset of 2^64", "NUMBER_TOO_LARGE", shaped("F32", "[1]", "[0,18446744073709551616]")],
  ["offsets run backwards", "OFFSETS_REVERSED", shaped("F32", "[1]", "[4,0]")],
  ["fewer bytes than shape and dtype", "SIZE_MISMATCH", shaped("F32", "[2]", "[0,4]")],
  ["more bytes than shape and dtype", "SIZE_MISMATCH", shaped("F16", "[1]", "[0,4]")],
  ["empty tensor with bytes", "SIZE_MISMATCH", shaped("F32", "[0]", "[0,4]")],
  ["F4 between bytes", "SUB_BYTE_MISALIGNED", shaped("F4", "[3]", "[0,2]", "12")],
  ["F6 between bytes", "SUB_BYTE_MISALIGNED", shaped("F6_E3M2", "[2]", "[0,2]", "12")],
  ["hole at the start", "HOLE", shaped("F32", "[1]", "[4,8]", EIGHT)],
  ["hole between tensors", "HOLE", rawFile(`{${A},"b":${entry("F32", "[1]", "[8,12]")}}`, `${EIGHT}${FOUR}`)],
  ["two tensors on one range", "OVERLAP", rawFile(`{${A},"b":${entry("F32", "[1]", "[0,4]")}}`, FOUR)],
  ["overlap by one byte", "OVERLAP", rawFile(`{${A},"b":${entry("F32", "[1]", "[3,7]")}}`, EIGHT)],
  ["data cut by one byte", "TRUNCATED", rawFile(`{${A},${B}}`, "1234567")],
  ["no data", "TRUNCATED", rawFile(`{${A}}`)],
  ["one byte behind the data", "TRAILING_BYTES", rawFile(`{${A}}`, "12345")],
  ["data without a tensor", "TRAILING_BYTES", rawFile("{}", "1")],
];

/** A header that is just too long, as a sparse file. */
const tooLong: BrokenCase = {
  name: "sparse file with a header above the limit",
  code: "SAFETENSORS_HEADER_TOO_LARGE",
  write(folder) {
    const path = join(folder, "model.safetensors");
    writeFileSync(path, lengthField(100_000_001n));
    truncateSync(path, 8 + 100_000_001);
    return path;
  },
};

export const brokenFiles: readonly BrokenCase[] = [
  ...[...LENGTH_CASES, ...JSON_CASES, ...DUPLICATE_CASES, ...ENTRY_CASES, ...OFFSET_CASES].map(
    ([name, code, bytes]): BrokenCase => ({
      name,
      code: `SAFETENSORS_${code}`,
      write(folder) {
        const path = join(folder, "model.safetensors");
        writeFileSync(path, bytes);
        return path;
      },
    }),
  ),
  tooLong,
];

/** Writes files into a folder, with the folders that their names need. */
export function writeAll(folder: string, files: Readonly<Record<string, Bytes>>): void {
  for (const [name, bytes] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), bytes);
  }
}

const SHARD_1 = "model-00001-of-00002.safetensors";
const SHARD_2 = "model-00002-of-00002.safetensors";
export const INDEX = "model.safetensors.index.json";
const fileA = rawFile(`{${A}}`, FOUR);
const fileB = rawFile(`{"b":${entry("F32", "[1]", "[0,4]")}}`, FOUR);
const fileAB = rawFile(`{${A},${B}}`, EIGHT);

/** Two good shards and their index. */
export const goodSharded: Readonly<Record<string, Bytes>> = {
  [SHARD_1]: fileA,
  [SHARD_2]: fileB,
  [INDEX]: JSON.stringify({ weight_map: { a: SHARD_1, b: SHARD_2 } }),
};

const mapped = (b: unknown, more = {}) => JSON.stringify({ weight_map: { a: SHARD_1, b }, ...more });

type IndexCase = readonly [name: string, code: string, files: Readonly<Record<string, Bytes>>];

const INDEX_CASES: readonly IndexCase[] = [
  ["empty index", "INDEX_JSON", { [INDEX]: "" }],
  ["index cut short", "INDEX_JSON", { [INDEX]: mapped(SHARD_2).slice(0, -5) }],
  ["index is no UTF-8", "INDEX_NOT_UTF8", { [INDEX]: Buffer.from('{"\xff":1}', "latin1") }],
  ["index is a list", "INDEX_NOT_OBJECT", { [INDEX]: "[]" }],
  ["index is a string", "INDEX_NOT_OBJECT", { [INDEX]: '"model"' }],
  ["no weight_map", "INDEX_NO_WEIGHT_MAP", { [INDEX]: '{"metadata":{"total_size":8}}' }],
  ["weight_map is a list", "INDEX_WEIGHT_MAP_NOT_OBJECT", { [INDEX]: `{"weight_map":["${SHARD_1}"]}` }],
  ["weight_map is empty", "INDEX_EMPTY", { [INDEX]: '{"weight_map":{}}' }],
  ["file is a number", "INDEX_FILE_NOT_STRING", { [INDEX]: mapped(2) }],
  ["file is null", "INDEX_FILE_NOT_STRING", { [INDEX]: mapped(null) }],
  [
    "tensor twice in the index",
    "INDEX_DUPLICATE_TENSOR",
    { [INDEX]: `{"weight_map":{"a":"${SHARD_1}","b":"${SHARD_2}","a":"${SHARD_1}"}}` },
  ],
  [
    "weight_map twice",
    "INDEX_DUPLICATE_KEY",
    { [INDEX]: `{"weight_map":{"a":"${SHARD_1}"},${mapped(SHARD_2).slice(1)}` },
  ],
  ["path out of the folder", "INDEX_PATH_ESCAPES", { [INDEX]: mapped("../outside.safetensors") }],
  ["path out through a folder", "INDEX_PATH_ESCAPES", { [INDEX]: mapped("x/../../outside.safetensors") }],
  ["path out with backslashes", "INDEX_PATH_ESCAPES", { [INDEX]: mapped("..\\outside.safetensors") }],
  ["absolute path", "INDEX_ABSOLUTE_PATH", { [INDEX]: mapped("/etc/hostname") }],
  ["path with a drive", "INDEX_ABSOLUTE_PATH", { [INDEX]: mapped("C:\\model.safetensors") }],
  ["path with a zero byte", "INDEX_PATH_INVALID", { [INDEX]: mapped(`${SHARD_2}\0`) }],
  ["path with a dot", "INDEX_PATH_INVALID", { [INDEX]: mapped(`./${SHARD_2}`) }],
  ["empty file name", "INDEX_PATH_INVALID", { [INDEX]: mapped("") }],
  ["shard missing", "FILE_MISSING", { [INDEX]: mapped("model-00003-of-00003.safetensors"), [SHARD_2]: "" }],
  ["tensor in two shards", "TENSOR_IN_TWO_SHARDS", { [SHARD_2]: fileAB }],
  [
    "tensor in no shard",
    "TENSOR_IN_NO_SHARD",
    { [INDEX]: `{"weight_map":{"a":"${SHARD_1}","b":"${SHARD_2}","c":"${SHARD_2}"}}` },
  ],
  ["tensors in each other's shard", "TENSOR_IN_OTHER_SHARD", { [SHARD_1]: fileB, [SHARD_2]: fileA }],
  [
    "tensor not in the index",
    "TENSOR_NOT_IN_INDEX",
    { [SHARD_2]: rawFile(`{"b":${entry("F32", "[1]", "[0,4]")},"c":${entry("F32", "[1]", "[4,8]")}}`, EIGHT) },
  ],
  ["shard not in the index", "SHARD_NOT_IN_INDEX", { "model-00003-of-00003.safetensors": fileA }],
  ["shard is broken", "TRUNCATED", { [SHARD_2]: fileB.subarray(0, -1) }],
  ["index beside a single file", "AMBIGUOUS", { "model.safetensors": fileAB }],
];

/** Each changes `goodSharded`; an empty shard is left out. */
export const brokenIndexes: readonly BrokenCase[] = INDEX_CASES.map(([name, code, files]) => ({
  name,
  code: `SAFETENSORS_${code}`,
  write(folder) {
    const all = Object.entries({ ...goodSharded, ...files }).filter(
      ([file, bytes]) => file === INDEX || bytes.length > 0,
    );
    writeAll(folder, Object.fromEntries(all));
    return folder;
  },
}));

const folderCase = (name: string, code: string, files: Readonly<Record<string, Bytes>>): BrokenCase => ({
  name,
  code: `SAFETENSORS_${code}`,
  write(folder) {
    writeAll(folder, files);
    return folder;
  },
});

/** Directories that hold no checkpoint, or more than one. */
export const brokenFolders: readonly BrokenCase[] = [
  folderCase("nothing of ours", "NOT_FOUND", { "config.json": "{}" }),
  folderCase("two files of other names", "AMBIGUOUS", { "x.safetensors": fileA, "y.safetensors": fileB }),
  folderCase("two indexes of other names", "AMBIGUOUS", {
    "x.safetensors.index.json": "{}",
    "y.safetensors.index.json": "{}",
  }),
  folderCase("shards without an index", "INDEX_MISSING", { [SHARD_1]: fileA, [SHARD_2]: fileB }),
  folderCase("a folder in place of the file", "NOT_A_FILE", { "model.safetensors/x": "" }),
];

// The record that a native target carries: what it has no place for, so that the way back gives the original files.
// Written as JSON; `docs/formats.md` describes it for other readers.
import { byteLengthOf, DTYPES, type Dtype } from "../base/dtype.ts";
import { type ErrorDetails, InputError } from "../base/errors.ts";
import { jsonByteLength, jsonText } from "../base/json/pieces.ts";
import { type JsonFault, JsonReader, parseJson } from "../base/json.ts";
import { VERSION } from "../base/version.ts";
import { ENCODINGS, type EncodingName } from "../family/encodable.ts";
import { FORMATS, type Format, type SafetensorsOrigin } from "../formats/checkpoint.ts";
import { RECORD_NAME } from "../formats/file-names.ts";
import { type Folder, has, readText } from "../formats/io/folder.ts";

const RECORD_VERSION = 1;
/** Limit of the bytes of dropped tensors that a record keeps. A tensor beyond it is only re-created by its rule. */
const MAX_KEPT_BYTES = 1 << 20;
/** Of a record: index, headers and keys of the source, at some 500 bytes a tensor. */
const RECORD_LIMIT = 1 << 28;

export interface KeptTensor {
  readonly key: string;
  readonly reason: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Row-major bytes; null where they were too many to keep. */
  readonly bytes: Uint8Array | null;
}

/** What a cast made of which model. */
export interface RoundingOf {
  /** Root of the model that was cast, in hex. */
  readonly root: string;
  /** Types that its tensors were cast to. */
  readonly dtypes: readonly Dtype[];
}

/** What the target is, as `seal` finds it. */
export interface RecordSeal {
  /** Over its tensors as Hugging Face has them, in hex. */
  readonly root: string;
  /** Of what its config makes the forward pass compute, in hex. */
  readonly config: string;
  readonly roundingOf: RoundingOf | null;
}

/** An adapter that a model's tensors have. */
export interface RecordMerge {
  /** As it was given. */
  readonly adapter: string;
  /** Of the repository that it was read from. */
  readonly commit?: string;
  /** Of the file of its weights, in hex. */
  readonly sha256: string;
  /** Number of products that were added, and of tensors that took another's place. */
  readonly products: number;
  readonly replaced: number;
}

export interface ConversionRecord {
  /** Null for a raw conversion. */
  readonly family: string | null;
  /** `source`: where it is published, with the commit that was read. */
  readonly from: { readonly layout: string; readonly format: Format; readonly source?: string };
  readonly to: { readonly layout: string; readonly format: Format };
  /** Files of the source, where it was safetensors. */
  readonly safetensors: SafetensorsOrigin | null;
  /** Element type of the source's tensors, by its keys, where the target's differs. */
  readonly casts: ReadonlyMap<string, Dtype>;
  /** Whether the source shipped an alias of another tensor, by canonical key. */
  readonly aliases: ReadonlyMap<string, boolean>;
  /** Keys that the source spelled in another than the canonical way: canonical key → its spelling. */
  readonly spelling: ReadonlyMap<string, string>;
  /** Order of dims that the source had, where it is not the canonical one. */
  readonly order: string | null;
  /** HF keys of the tensors in that order, the first of each group at each index; empty where all are that have several. */
  readonly orderAt: readonly string[];
  /** Tensors that the source stored encoded, by their keys. */
  readonly encodings: ReadonlyMap<string, EncodingName>;
  /** Keys in the source's files, by key of its layout, where these spelled them otherwise: under a prefix, or wrapped. */
  readonly names: ReadonlyMap<string, string>;
  readonly dropped: readonly KeptTensor[];
  /** Absent in records of raw conversions, and of versions that wrote none. */
  readonly seal?: RecordSeal | undefined;
  /** Adapters that were merged into the model, first to last. */
  readonly merged?: readonly RecordMerge[] | undefined;
  /** Whether the user did without one. */
  readonly isUnsealed?: boolean;
}

/** The bytes of dropped tensors in the order given, up to the limit of a record. */
export function keepBytes<T extends { readonly byteLength: number }>(
  tensors: readonly T[],
  read: (tensor: T, target: Uint8Array) => void,
): (Uint8Array | null)[] {
  let left = MAX_KEPT_BYTES;
  return tensors.map((tensor) => {
    if (tensor.byteLength > left) return null;
    left -= tensor.byteLength;
    const bytes = new Uint8Array(tensor.byteLength);
    read(tensor, bytes);
    return bytes;
  });
}

export const encodeRecord = (record: ConversionRecord): string => `${jsonText(recordJson(record))}\n`;

/** Length of the record's file, in bytes. */
export const recordByteLength = (record: ConversionRecord): number => jsonByteLength(recordJson(record)) + 1;

/** In its order, with maps for objects: a large model has tens of thousands of names in each. */
function recordJson(record: ConversionRecord): object {
  const { family, from, to, safetensors, casts, aliases, spelling, order, orderAt, encodings, names, dropped, seal } =
    record;
  return {
    format: "convert-checkpoint record",
    version: RECORD_VERSION,
    writtenBy: `convert-checkpoint ${VERSION}`,
    family,
    from,
    to,
    safetensors,
    casts,
    aliases,
    spelling,
    ...(order === null ? {} : { order }),
    ...(orderAt.length === 0 ? {} : { orderAt }),
    ...(encodings.size === 0 ? {} : { encodings }),
    ...(names.size === 0 ? {} : { names }),
    ...(seal === undefined ? {} : { seal }),
    ...(record.merged === undefined ? {} : { merged: record.merged }),
    ...(record.isUnsealed === true ? { sealed: "not checked: --no-seal" } : {}),
    dropped: dropped.map(({ bytes, ...rest }) => ({
      ...rest,
      base64: bytes === null ? null : Buffer.from(bytes).toString("base64"),
    })),
  };
}

/** The record in a checkpoint's folder; null where there is none. Throws InputError RECORD_MALFORMED, RECORD_VERSION. */
export const recordIn = (folder: Folder): ConversionRecord | null =>
  has(folder, RECORD_NAME)
    ? parseRecord(readText(folder, RECORD_NAME, RECORD_LIMIT), folder.pathOf(RECORD_NAME))
    : null;

export function parseRecord(text: string, file: string): ConversionRecord {
  let json: unknown;
  try {
    json = parseJson(text);
  } catch (cause) {
    throw malformed(file, "it is not JSON", { cause });
  }
  const root = new JsonReader(json, ({ place, ...fault }) => unreadable(file, place, fault));
  if (root.field("version").value !== RECORD_VERSION) {
    throw new InputError("RECORD_VERSION", `${file}: a record of version ${String(root.field("version").value)}`, {
      file,
      expected: String(RECORD_VERSION),
      found: String(root.field("version").value),
      help: "use the version of convert-checkpoint that wrote it, or remove the record to convert by the defaults",
    });
  }
  const place = (reader: JsonReader) => ({
    layout: reader.field("layout").text(),
    format: reader.field("format").oneOf(FORMATS, "format"),
  });
  return {
    family: root.field("family").nullable((name) => name.text()),
    from: { ...place(root.field("from")), ...sourceOf(root.field("from").optional("source")) },
    to: place(root.field("to")),
    safetensors: root.field("safetensors").nullable(parseOrigin),
    casts: root.field("casts").map(dtypeOf),
    aliases: root.field("aliases").map((reader) => reader.boolean()),
    spelling: root.field("spelling").map((reader) => reader.text()),
    order: root.optional("order")?.text() ?? null,
    orderAt: (root.optional("orderAt")?.list() ?? []).map((key) => key.text()),
    encodings: root.optional("encodings")?.map((reader) => reader.oneOf(ENCODINGS, "encoding")) ?? new Map(),
    names: root.optional("names")?.map((reader) => reader.text()) ?? new Map(),
    dropped: root.field("dropped").list().map(parseKept),
    seal: sealOf(root.optional("seal")),
    merged: root.optional("merged")?.list().map(mergeOf),
  };
}

/** Of a record or of a seal. */
export function mergeOf(merge: JsonReader): RecordMerge {
  const commit = merge.optional("commit");
  return {
    adapter: merge.field("adapter").text(),
    ...(commit === undefined ? {} : { commit: commit.text() }),
    sha256: hexOf(merge.field("sha256")),
    products: merge.field("products").size(),
    replaced: merge.field("replaced").size(),
  };
}

const sourceOf = (source: JsonReader | undefined) => (source === undefined ? {} : { source: source.text() });

function sealOf(seal: JsonReader | undefined): RecordSeal | undefined {
  if (seal === undefined) return undefined;
  return {
    root: hexOf(seal.field("root")),
    config: hexOf(seal.field("config")),
    roundingOf: roundingIn(seal.optional("roundingOf")),
  };
}

/** Of a record or of a seal; null where there is none. */
export const roundingIn = (reader: JsonReader | undefined): RoundingOf | null =>
  reader?.nullable((of) => ({ root: hexOf(of.field("root")), dtypes: of.field("dtypes").list().map(dtypeOf) })) ?? null;

/** A SHA-256. */
export function hexOf(reader: JsonReader): string {
  const text = reader.text();
  return /^[0-9a-f]{64}$/.test(text) ? text : reader.fail("SHA-256 in hex");
}

function parseOrigin(origin: JsonReader): SafetensorsOrigin {
  return {
    files: origin
      .field("files")
      .list()
      .map((file) => {
        const header = file.optional("header");
        return {
          name: fileName(file.field("name")),
          metadata: file.field("metadata").nullable((all) => Object.fromEntries(all.map((value) => value.text()))),
          keys: file
            .field("keys")
            .list()
            .map((key) => key.text()),
          canonical: file.field("canonical").boolean(),
          ...(header === undefined ? {} : { header: header.text() }),
        };
      }),
    index: origin
      .field("index")
      .nullable((index) => ({ name: fileName(index.field("name")), text: index.field("text").text() })),
  };
}

function parseKept(kept: JsonReader): KeptTensor {
  const key = kept.field("key").text();
  const sizes = kept.field("shape").list();
  const shape = sizes.map((size) => size.size());
  const dtype = dtypeOf(kept.field("dtype"));
  const bytes = kept.field("base64").nullable((base64) => bytesOf(base64, byteLengthOf(dtype, shape)));
  return { key, reason: kept.field("reason").text(), dtype, shape, bytes };
}

const dtypeOf = (reader: JsonReader): Dtype => reader.oneOf(DTYPES, "element type");

/** Base64 of exactly so many bytes. */
function bytesOf(reader: JsonReader, byteLength: number): Uint8Array {
  const bytes = Buffer.from(reader.text(), "base64");
  return bytes.length === byteLength ? new Uint8Array(bytes) : reader.fail(`base64 of ${byteLength} bytes`);
}

/** A name that stays inside the target. */
function fileName(reader: JsonReader): string {
  const name = reader.text();
  return /[/\\\0]/.test(name) || name === "" || name === "." || name === ".." ? reader.fail("plain file name") : name;
}

const unreadable = (
  file: string,
  place: string,
  { expected, found }: Pick<JsonFault, "expected" | "found">,
): InputError => malformed(file, `${place || "the record"} is no ${expected}`, { expected, found });

const malformed = (file: string, problem: string, details: Omit<ErrorDetails, "help">): InputError =>
  new InputError("RECORD_MALFORMED", `${file}: ${problem}`, {
    file,
    help: "restore the record from the conversion that wrote it, or remove it to convert by the defaults",
    ...details,
  });

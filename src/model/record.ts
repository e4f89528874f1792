// The record that a native target carries: what it has no place for, so that the way back gives the original files.
// Written as JSON; `docs/formats.md` describes it for other readers.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Dtype, isDtype } from "../base/dtype.ts";
import { InputError } from "../base/errors.ts";
import { VERSION } from "../base/version.ts";
import type { EncodingName } from "../family/encodable.ts";
import type { Format, SafetensorsOrigin } from "../formats/checkpoint.ts";
import { RECORD_NAME } from "../formats/file-names.ts";
import { tensorInfo } from "../views/tensor-source.ts";
import { directoryOf, isObject } from "./config-files.ts";

const RECORD_VERSION = 1;
/** Bytes of dropped tensors that a record keeps; what is beyond comes back from its rule only. */
const MAX_KEPT_BYTES = 1 << 20;

export interface KeptTensor {
  readonly key: string;
  readonly reason: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Row-major bytes; null where they were too many to keep. */
  readonly bytes: Uint8Array | null;
}

export interface ConversionRecord {
  /** Null for a raw conversion. */
  readonly family: string | null;
  readonly from: { readonly layout: string; readonly format: Format };
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
  /** Tensors that the source stored encoded, by their keys. */
  readonly encodings: ReadonlyMap<string, EncodingName>;
  readonly dropped: readonly KeptTensor[];
}

/** The bytes of dropped tensors, as far as a record keeps them, in the order given. */
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

export function encodeRecord(record: ConversionRecord): string {
  const { family, from, to, safetensors, casts, aliases, spelling, order, encodings, dropped } = record;
  const json = {
    format: "convert-checkpoint record",
    version: RECORD_VERSION,
    writtenBy: `convert-checkpoint ${VERSION}`,
    family,
    from,
    to,
    safetensors,
    casts: Object.fromEntries(casts),
    aliases: Object.fromEntries(aliases),
    spelling: Object.fromEntries(spelling),
    ...(order === null ? {} : { order }),
    ...(encodings.size === 0 ? {} : { encodings: Object.fromEntries(encodings) }),
    dropped: dropped.map(({ bytes, ...rest }) => ({
      ...rest,
      base64: bytes === null ? null : Buffer.from(bytes).toString("base64"),
    })),
  };
  return `${JSON.stringify(json, null, 1)}\n`;
}

/** The record beside a checkpoint; null where there is none. Throws InputError RECORD_MALFORMED, RECORD_VERSION. */
export function recordBeside(checkpoint: string): ConversionRecord | null {
  const file = join(directoryOf(checkpoint), RECORD_NAME);
  return existsSync(file) ? parseRecord(readFileSync(file, "utf8"), file) : null;
}

export function parseRecord(text: string, file: string): ConversionRecord {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw malformed(file, "it is not JSON", cause);
  }
  const root = new Reader(json, file, "");
  if (root.field("version").value !== RECORD_VERSION) {
    throw new InputError("RECORD_VERSION", `${file}: a record of version ${String(root.field("version").value)}`, {
      file,
      expected: String(RECORD_VERSION),
      found: String(root.field("version").value),
      help: "use the version of convert-checkpoint that wrote it, or remove the record to convert by the defaults",
    });
  }
  const place = (reader: Reader) => ({
    layout: reader.field("layout").text(),
    format: reader.field("format").format(),
  });
  const family = root.field("family");
  const origin = root.field("safetensors");
  return {
    family: family.value === null ? null : family.text(),
    from: place(root.field("from")),
    to: place(root.field("to")),
    safetensors: origin.value === null ? null : parseOrigin(origin),
    casts: root.field("casts").map((reader) => reader.dtype()),
    aliases: root.field("aliases").map((reader) => reader.boolean()),
    spelling: root.field("spelling").map((reader) => reader.text()),
    order: root.optional("order")?.text() ?? null,
    encodings: root.optional("encodings")?.map((reader) => reader.encoding()) ?? new Map(),
    dropped: root.field("dropped").list().map(parseKept),
  };
}

function parseOrigin(origin: Reader): SafetensorsOrigin {
  const index = origin.field("index");
  return {
    files: origin
      .field("files")
      .list()
      .map((file) => {
        const header = file.optional("header");
        const metadata = file.field("metadata");
        return {
          name: file.field("name").fileName(),
          metadata: metadata.value === null ? null : Object.fromEntries(metadata.map((value) => value.text())),
          keys: file
            .field("keys")
            .list()
            .map((key) => key.text()),
          canonical: file.field("canonical").boolean(),
          ...(header === undefined ? {} : { header: header.text() }),
        };
      }),
    index: index.value === null ? null : { name: index.field("name").fileName(), text: index.field("text").text() },
  };
}

function parseKept(kept: Reader): KeptTensor {
  const key = kept.field("key").text();
  const sizes = kept.field("shape").list();
  const shape = sizes.map((size) => size.size());
  const dtype = kept.field("dtype").dtype();
  const base64 = kept.field("base64");
  const bytes = base64.value === null ? null : base64.bytes(tensorInfo(key, dtype, shape).byteLength);
  return { key, reason: kept.field("reason").text(), dtype, shape, bytes };
}

const malformed = (file: string, problem: string, cause?: unknown): InputError =>
  new InputError("RECORD_MALFORMED", `${file}: ${problem}`, {
    file,
    help: "restore the record from the conversion that wrote it, or remove it to convert by the defaults",
    ...(cause === undefined ? {} : { cause }),
  });

/** A value of the record, with its place for messages. */
class Reader {
  constructor(
    readonly value: unknown,
    private readonly file: string,
    private readonly place: string,
  ) {}

  private fail(expected: string): never {
    throw malformed(this.file, `${this.place || "the record"} is no ${expected}`);
  }

  private child(value: unknown, name: string): Reader {
    return new Reader(value, this.file, this.place === "" ? name : `${this.place}.${name}`);
  }

  optional(name: string): Reader | undefined {
    if (!isObject(this.value)) return this.fail("object");
    return Object.hasOwn(this.value, name) ? this.child(this.value[name], name) : undefined;
  }

  field(name: string): Reader {
    return this.optional(name) ?? this.fail(`object with "${name}"`);
  }

  list(): Reader[] {
    if (!Array.isArray(this.value)) return this.fail("list");
    return this.value.map((item: unknown, i) => this.child(item, String(i)));
  }

  map<T>(read: (reader: Reader) => T): Map<string, T> {
    if (!isObject(this.value)) return this.fail("object");
    return new Map(Object.entries(this.value).map(([name, value]) => [name, read(this.child(value, name))]));
  }

  text(): string {
    return typeof this.value === "string" ? this.value : this.fail("string");
  }

  boolean(): boolean {
    return typeof this.value === "boolean" ? this.value : this.fail("boolean");
  }

  size(): number {
    const { value } = this;
    return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : this.fail("size");
  }

  dtype(): Dtype {
    const name = this.text();
    return isDtype(name) ? name : this.fail("element type");
  }

  encoding(): EncodingName {
    const name = this.text();
    return name === "fp8" || name === "mxfp4" ? name : this.fail("encoding");
  }

  format(): Format {
    const name = this.text();
    return name === "safetensors" || name === "dcp" || name === "pt" ? name : this.fail("format");
  }

  /** Base64 of exactly so many bytes. */
  bytes(byteLength: number): Uint8Array {
    const bytes = Buffer.from(this.text(), "base64");
    return bytes.length === byteLength ? new Uint8Array(bytes) : this.fail(`base64 of ${byteLength} bytes`);
  }

  /** A name that stays inside the target. */
  fileName(): string {
    const name = this.text();
    return /[/\\\0]/.test(name) || name === "" || name === "." || name === ".." ? this.fail("plain file name") : name;
  }
}

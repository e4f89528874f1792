// A seal as a file: JSON of a fixed order, one line a tensor. docs/schema/seal.schema.json describes it.
import { DTYPES, type Dtype } from "../../base/dtype.ts";
import { InputError } from "../../base/errors.ts";
import { isJsonObject, type JsonFault, type JsonObject, JsonReader, parseJson } from "../../base/json.ts";
import { locate, type PathOrLocation } from "../../formats/io/disk-folder.ts";
import { has, readText } from "../../formats/io/folder.ts";
import { hexOf, roundingIn } from "../../model/record.ts";
import { byName, rootOf, type TensorIdentity } from "../../views/identity/merkle.ts";
import { mathematicsHashOf } from "./config.ts";
import type { Seal, SealedTensor } from "./seal-data.ts";

const FORMAT = "convert-checkpoint seal";
const SEAL_VERSION = 1;
/** Some 200 bytes a tensor. */
const SEAL_LIMIT = 1 << 28;
export const SCHEMA_ID = "https://unpkg.com/convert-checkpoint/docs/schema/seal.schema.json";

/** The document that a seal is written as. */
export function sealJson(seal: Seal): JsonObject {
  const { view, family, root, config, tensors, ties, encoded, roundingOf } = seal;
  return {
    $schema: SCHEMA_ID,
    format: FORMAT,
    version: SEAL_VERSION,
    ...{ view, family, root, config, ties },
    ...(roundingOf === null ? {} : { roundingOf }),
    tensors,
    ...(encoded === null ? {} : { encoded }),
  };
}

/** Line by line what a person compares: two seals differ in the lines of the tensors that differ. */
export function encodeSeal(seal: Seal): string {
  const lines = Object.entries(sealJson(seal)).map(([name, value]) => {
    const isLong = (name === "tensors" && Array.isArray(value)) || name === "encoded";
    return `${JSON.stringify(name)}: ${isLong ? listed(value) : JSON.stringify(value)}`;
  });
  return `{\n${lines.join(",\n")}\n}\n`;
}

function listed(value: unknown): string {
  if (Array.isArray(value)) {
    return value.length === 0 ? "[]" : `[\n${value.map((item: unknown) => `  ${JSON.stringify(item)}`).join(",\n")}\n]`;
  }
  if (!isJsonObject(value)) return JSON.stringify(value);
  return `{ ${Object.entries(value)
    .map(([name, member]) => `${JSON.stringify(name)}: ${listed(member)}`)
    .join(", ")} }`;
}

/** Throws InputError NOT_FOUND, SEAL_MALFORMED, SEAL_VERSION and what reading throws. */
export function readSeal(at: PathOrLocation): Seal {
  const { path, folder, file } = locate(at);
  if (file === null || !has(folder, file)) {
    const found = file === null ? "a directory" : "nothing of that name";
    throw new InputError("SEAL_NOT_FOUND", `${path}: no seal`, {
      file: path,
      expected: "a file that `seal` wrote",
      found,
      help: "write one with: convert-checkpoint seal CHECKPOINT FILE",
    });
  }
  return parseSeal(readText(folder, file, SEAL_LIMIT, path), path);
}

/** Whether a text is a seal, of whatever version. */
export function isSeal(text: string): boolean {
  try {
    const json = parseJson(text);
    return isJsonObject(json) && json.format === FORMAT;
  } catch {
    return false;
  }
}

/** @param file for messages */
export function parseSeal(text: string, file: string): Seal {
  let json: unknown;
  try {
    json = parseJson(text);
  } catch (cause) {
    throw malformed(file, "it is not JSON", { found: text.trimStart().slice(0, 40), cause });
  }
  const reader = new JsonReader(json, ({ place, expected, found }) =>
    malformed(file, `${place || "the seal"} is no ${expected}`, { expected, found }),
  );
  if (!isJsonObject(json) || json.format !== FORMAT) {
    const found = isJsonObject(json) ? `"format": ${JSON.stringify(json.format) ?? "nothing"}` : typeof json;
    throw malformed(file, "it is none", { expected: `"format": "${FORMAT}"`, found });
  }
  const version = reader.field("version").value;
  if (version !== SEAL_VERSION) {
    throw new InputError("SEAL_VERSION", `${file}: a seal of version ${JSON.stringify(version)}`, {
      file,
      expected: String(SEAL_VERSION),
      found: JSON.stringify(version),
      help: "use the version of convert-checkpoint that wrote it",
    });
  }
  return checked(read(reader), file);
}

function read(root: JsonReader): Seal {
  return {
    view: root.field("view").oneOf(["hf", "raw"], '"hf" or "raw"'),
    family: root.field("family").nullable((name) => name.text()),
    root: hexOf(root.field("root")),
    config: root.field("config").nullable((config) => ({
      sha256: hexOf(config.field("sha256")),
      mathematics: objectOf(config.field("mathematics")),
      json: objectOf(config.field("json")),
    })),
    ties: Object.fromEntries(root.field("ties").map((of) => of.text())),
    roundingOf: roundingIn(root.optional("roundingOf")),
    tensors: root.field("tensors").list().map(sealedTensor),
    encoded:
      root.optional("encoded")?.nullable((encoded) => ({
        root: hexOf(encoded.field("root")),
        tensors: encoded.field("tensors").list().map(tensorIdentity),
      })) ?? null,
  };
}

const objectOf = (reader: JsonReader): JsonObject =>
  isJsonObject(reader.value) ? reader.value : reader.fail("object");

function tensorIdentity(tensor: JsonReader): TensorIdentity {
  return {
    name: tensor.field("name").text(),
    dtype: dtypeOf(tensor.field("dtype")),
    shape: tensor
      .field("shape")
      .list()
      .map((size) => size.size()),
    sha256: hexOf(tensor.field("sha256")),
  };
}

function sealedTensor(tensor: JsonReader): SealedTensor {
  const exact = tensor.optional("exact");
  if (exact === undefined) return tensorIdentity(tensor);
  const dtype = exact.field("dtype").oneOf(["F32"], '"F32"');
  return { ...tensorIdentity(tensor), exact: { dtype, sha256: hexOf(exact.field("sha256")) } };
}

const dtypeOf = (reader: JsonReader): Dtype => reader.oneOf(DTYPES, "element type");

/** Its roots are those of its lists: a list that was edited by hand vouches for nothing. */
function checked(seal: Seal, file: string): Seal {
  for (const [place, { root, tensors }] of Object.entries({ root: seal, "encoded.root": seal.encoded }).flatMap(
    ([name, of]) => (of === null ? [] : [[name, of] as const]),
  )) {
    const twice = byName(tensors).find(({ name }, i, all) => name === all[i + 1]?.name);
    if (twice !== undefined) {
      throw malformed(file, `"${twice.name}" is there twice`, { tensor: twice.name, expected: "each tensor once" });
    }
    const expected = rootOf(tensors);
    if (expected !== root) {
      throw malformed(file, `${place} is not that of its tensors: the file was changed`, { expected, found: root });
    }
  }
  if (seal.config !== null && seal.family !== null) {
    const expected = mathematicsHashOf(seal.family, seal.config.mathematics);
    const { sha256: found } = seal.config;
    if (expected !== found)
      throw malformed(file, "config.sha256 is not that of its mathematics: the file was changed", { expected, found });
  }
  return seal;
}

interface Details extends Partial<Pick<JsonFault, "expected" | "found">> {
  readonly tensor?: string;
  readonly cause?: unknown;
}

const malformed = (file: string, problem: string, details: Details): InputError =>
  new InputError("SEAL_MALFORMED", `${file}: no seal that can be read: ${problem}`, {
    file,
    help: "take the file as `convert-checkpoint seal` wrote it, or seal the original again",
    ...details,
  });

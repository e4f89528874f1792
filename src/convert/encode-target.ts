// Under which encoding an HF target is written, which of its tensors, and with which scales.
import { byteLengthOf } from "../base/dtype.ts";
import { InputError, UsageError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import { type EncodedSource, encodedSource, type KeptScales, readScales } from "../encodings/encoded.ts";
import { ENCODING_CHOICES, type EncodedTensor } from "../encodings/encoding.ts";
import {
  blockSizeOf,
  encodableTensors,
  encodedAs,
  encodingNamed,
  encodingOf,
  isEncodable,
  methodOf,
  newQuantisation,
  quantisationOf,
} from "../encodings/quantisation.ts";
import type { EncodableTensors, EncodingName } from "../family/encodable.ts";
import type { Layout } from "../family/layout.ts";
import { has, inFolder } from "../formats/io/folder.ts";
import { SCALES_NAME } from "../formats/safetensors/locate.ts";
import { openSafetensors } from "../formats/safetensors/open.ts";
import type { ConfigFile } from "../model/configs/config-files.ts";
import { fileWithQuantisation } from "../model/configs/config-text.ts";
import { encodingFault } from "../model/configs/stored-as.ts";
import type { Model } from "../model/model.ts";
import type { ConversionRecord } from "../model/record.ts";
import type { DtypeChoice } from "../views/dtypes.ts";
import { type MappedTensor, type Mapping, wholeMove } from "../views/mapping.ts";
import { virtualSource } from "../views/produce.ts";

/** How an HF target is encoded, after `--encoding` and its config. */
export interface TargetEncoding {
  readonly name: EncodingName;
  /** `quantization_config` of the target. */
  readonly quantisation: JsonObject;
  readonly isEncoded: (key: string) => boolean;
  /** Which tensors the family encodes; null for none. */
  readonly encodable: EncodableTensors | null;
  readonly kept: KeptScales;
  readonly close: () => void;
  readonly note: string;
}

/**
 * The config that goes with the weights: without `quantization_config` where none of them is stored so, and the user asks
 * for plain ones.
 */
export function truthfulConfig(model: Model, asked: string | undefined): ConfigFile {
  const { config } = model.stored;
  if (asked !== "none" || encodingFault(model)?.code !== "ENCODING_ABSENT") return config;
  return fileWithQuantisation(config, null);
}

/**
 * Null where tensors are written plain.
 * Throws UsageError ENCODING_UNKNOWN, ENCODING_NOT_HF; InputError ENCODING_ABSENT where the config says what the file does
 * not have, QUANTISED_UNSUPPORTED where it names codes that are not read or written here.
 */
export function targetEncoding(
  model: Model,
  to: Layout,
  asked: string | undefined,
  record: ConversionRecord | null,
): TargetEncoding | null {
  if (asked !== undefined && !ENCODING_CHOICES.some((name) => name === asked)) {
    throw new UsageError("ENCODING_UNKNOWN", `--encoding ${asked}: no such encoding`, {
      expected: ENCODING_CHOICES.join(", "),
      found: asked,
      help: "leave it out to write what the config says",
    });
  }
  const quantisation = quantisationOf(model.stored.config.json);
  const named = encodingNamed(quantisation);
  const isAsked = asked !== undefined && asked !== "auto";
  const fault = encodingFault(model);
  if (fault?.code === "ENCODING_ABSENT" && !isAsked) throw fault;
  if (quantisation !== null && named === null && to.side === "hf" && !isAsked) throw unwritten(model, quantisation);
  if (to.side !== "hf") {
    if (asked === "fp8" || asked === "mxfp4") throw notHf(asked, to.name);
    return null;
  }
  const name = asked === "fp8" || asked === "mxfp4" ? asked : asked === "none" ? null : named;
  if (name === null) return null;
  const encodable = encodableTensors(name, model.family.encodable);
  const chosen =
    name === named && quantisation !== null ? quantisation : newQuantisation(name, encodable?.plainModules);
  const before =
    model.encoded.size > 0
      ? new Map([...model.encoded].map(([key, { encoding }]) => [key, encoding.name]))
      : record?.encodings;
  const known = before !== undefined && [...before.values()].includes(name) ? before : null;
  return {
    name,
    quantisation: chosen,
    encodable,
    isEncoded: (key) =>
      known === null ? encodable !== null && isEncodable(encodable, key, chosen) : known.get(key) === name,
    ...keptScales(model, known !== null),
  };
}

/** Scales of the source itself, or those beside it. */
function keptScales(model: Model, isKnown: boolean): Pick<TargetEncoding, "kept" | "close" | "note"> {
  const close = () => undefined;
  if (model.encoded.size > 0) {
    const own = new Set([...model.encoded.values()].map(({ scales }) => scales));
    const kept: KeptScales = (key) => (own.has(key) ? readScales(model.checkpoint, key) : null);
    return { kept, close, note: "scales are the source's own" };
  }
  const { folder } = model.checkpoint;
  if (!isKnown || !has(folder, SCALES_NAME)) {
    return { kept: () => null, close, note: `no ${SCALES_NAME} beside the source: scales are canonical` };
  }
  const file = openSafetensors(inFolder(folder, SCALES_NAME));
  return {
    kept: (key) => readScales(file, key),
    close: () => file.close(),
    note: `scales are those of ${SCALES_NAME} where the values are still those that were decoded, canonical elsewhere`,
  };
}

/** The mapping's tensors with codes and scales in place of those that are encoded. */
export function encodeMapping(
  mapping: Mapping,
  { name, quantisation, encodable, isEncoded, kept }: TargetEncoding,
  { dtypes, bufferBytes }: { readonly dtypes: DtypeChoice; readonly bufferBytes: () => number },
): { readonly mapping: Mapping; readonly source: EncodedSource } {
  const encoding = encodingOf(name, blockSizeOf(quantisation) ?? [128, 128]);
  const encoded: EncodedTensor[] = [];
  for (const { info } of mapping.tensors.values()) {
    if (!isEncoded(info.key)) continue;
    const tensor = encodedAs(encoding, info.key, info.shape);
    if (tensor === null) throw noEncoding(name, info.key, info.shape);
    encoded.push(tensor);
  }
  if (encoded.length === 0) throw nothingEncoded(name, encodable);
  const source = encodedSource(virtualSource(mapping, bufferBytes), encoded, kept);
  const stored = new Set(encoded.flatMap(({ codes, scales }) => [codes, scales]));
  const tensors = new Map<string, MappedTensor>();
  for (const info of source.tensors.values()) {
    const before = mapping.tensors.get(info.key);
    const critical = before?.critical;
    const plain = (isCritical: boolean) => dtypes([info.key, ...(before?.sources ?? [])], info.dtype, isCritical);
    const dtype = stored.has(info.key) ? info.dtype : plain(critical !== undefined);
    const kept = critical && { critical: { reason: critical.reason, kept: dtype !== plain(false) } };
    const cast = { ...info, dtype, byteLength: byteLengthOf(dtype, info.shape) };
    tensors.set(info.key, { info: cast, move: wholeMove(info), sources: [info.key], ...kept });
  }
  return { mapping: { ...mapping, source, tensors, equalities: [], dropped: [] }, source };
}

const unwritten = ({ checkpoint, stored: { config } }: Model, quantisation: JsonObject): InputError =>
  new InputError(
    "QUANTISED_UNSUPPORTED",
    `${checkpoint.path}: its config says ${methodOf(quantisation)} (quantization_config), which is not written here`,
    {
      file: config.path,
      expected: "quant_method fp8 (blocks) or mxfp4, or a config without quantization_config",
      found: JSON.stringify(quantisation).slice(0, 80),
      help: "write the weights plain, and the config without quantization_config, with --encoding none",
    },
  );

const notHf = (asked: string, to: string): UsageError =>
  new UsageError("ENCODING_NOT_HF", `--encoding ${asked}: ${to} is written plain`, {
    expected: "--to hf",
    found: to,
    help: "leave --encoding out: native targets are decoded, and keep the scales for the way back",
  });

const noEncoding = (name: EncodingName, tensor: string, shape: readonly number[]): InputError =>
  new InputError("ENCODING_SHAPE", `"${tensor}" [${shape.join(", ")}] cannot be written as ${name}`, {
    tensor,
    expected: name === "fp8" ? "a matrix" : "a last axis that is a multiple of 32",
    found: `[${shape.join(", ")}]`,
    help: "write the model plain with --encoding none",
  });

const nothingEncoded = (name: EncodingName, encodable: EncodableTensors | null): InputError =>
  new InputError("ENCODING_NO_TENSORS", `no tensor of this model is one that ${name} files encode`, {
    expected: encodable?.keys.map((end) => `*${end}`).join(", ") ?? `a family that is stored as ${name}`,
    found: "none",
    help: "write the model plain with --encoding none",
  });

// A checkpoint with its encoded weights decoded: one logical tensor replaces codes and scales, and is decoded as it is
// read.

import { byteLengthOf } from "../base/dtype.ts";
import { InputError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import type { Checkpoint, TensorInfo } from "../formats/checkpoint.ts";
import { Decoder } from "./decoder.ts";
import type { EncodedTensor } from "./encoding.ts";
import { type Decoded, decodedDtype } from "./floats.ts";
import { fp8Blocks, scaleKeyOf } from "./fp8.ts";
import { GROUP, mxfp4 } from "./mxfp4.ts";
import { blockSizeOf, quantisationOf } from "./quantisation.ts";
import { Workspace } from "./workspace.ts";

type Source = Pick<Checkpoint, "tensors" | "read">;

export interface DecodedSource extends Source {
  /** By the key of the logical tensor. */
  readonly encoded: ReadonlyMap<string, EncodedTensor>;
  /**
   * The same checkpoint with decoded tensors in F32, whatever dtype the config declares: they are not rounded to it.
   */
  unrounded(keys: ReadonlySet<string>): Source;
}

/**
 * Null where nothing is encoded. Decoded tensors have the dtype that the config declares for weights.
 * Throws InputError SCALE_MISSING, SCALE_WITHOUT_WEIGHT, SCALE_SHAPE, naming the tensor.
 */
export function decodedSource(source: Source, config: JsonObject | null, where: string): DecodedSource | null {
  const found = findEncoded(source, config, where);
  const { encoded } = found;
  if (encoded.size === 0) return null;
  const declared = decodedDtype(declaredDtype(config), where);
  const view = (wide: ReadonlySet<string>) => decodedView(source, found, (key) => (wide.has(key) ? "F32" : declared));
  return { ...view(new Set()), encoded, unrounded: view };
}

function decodedView(source: Source, { encoded, partOf }: Found, dtypeOf: (key: string) => Decoded): Source {
  const tensors = new Map<string, TensorInfo>();
  for (const info of source.tensors.values()) {
    const tensor = partOf(info.key);
    if (tensor === undefined) tensors.set(info.key, info);
    else if (tensor.codes === info.key) tensors.set(tensor.key, logicalInfo(tensor, dtypeOf(tensor.key)));
  }
  const decoders = new Map<string, Decoder>();
  const workspace = new Workspace();
  return {
    tensors,
    read(key, begin, target) {
      const tensor = encoded.get(key);
      if (tensor === undefined) {
        source.read(key, begin, target);
        return;
      }
      const decoder = decoders.get(key) ?? new Decoder(source, tensor, dtypeOf(key), workspace);
      // One at a time: the scales of all tensors would add up.
      if (!decoders.has(key)) decoders.clear();
      decoders.set(key, decoder);
      decoder.read(begin, target);
    },
  };
}

/** The config's own, or that of the text model inside it. */
function declaredDtype(config: JsonObject | null): unknown {
  const inner: unknown = config?.text_config;
  const text = typeof inner === "object" && inner !== null && "dtype" in inner ? inner.dtype : undefined;
  return config?.dtype ?? config?.torch_dtype ?? text;
}

const logicalInfo = ({ key, shape, encoding }: EncodedTensor, dtype: Decoded): TensorInfo => ({
  key,
  dtype,
  shape,
  byteLength: byteLengthOf(dtype, shape),
  encoding: encoding.name,
});

/** What a key of codes or scales has behind that of the logical tensor. */
const PART = /_(?:blocks|scales|scale_inv)$/;

interface Found {
  /** By the key of the logical tensor. */
  readonly encoded: ReadonlyMap<string, EncodedTensor>;
  /** By the key of its codes or of its scales. */
  readonly partOf: (key: string) => EncodedTensor | undefined;
}

function findEncoded(source: Source, config: JsonObject | null, where: string): Found {
  const encoded = new Map<string, EncodedTensor>();
  const ofPart = (name: string, key: string) => {
    const tensor = encoded.get(name);
    return tensor?.codes === key || tensor?.scales === key ? tensor : undefined;
  };
  const partOf = (key: string) => ofPart(key, key) ?? ofPart(key.replace(PART, ""), key);
  const fp8 = fp8Blocks(blockSize(config, where));
  for (const { key, dtype, shape } of source.tensors.values()) {
    if (dtype === "F8_E4M3") {
      encoded.set(key, withScales(source, { encoding: fp8, key, shape, codes: key, scales: scaleKeyOf(key) }, where));
    } else if (dtype === "U8" && key.endsWith("_blocks") && shape.at(-1) === GROUP / 2) {
      const name = key.slice(0, -"_blocks".length);
      const logical = [...shape.slice(0, -2), shape.at(-2)! * GROUP];
      const tensor = { encoding: mxfp4, key: name, shape: logical, codes: key, scales: `${name}_scales` };
      encoded.set(name, withScales(source, tensor, where));
    }
  }
  for (const key of source.tensors.keys())
    if (/_(?:scale_inv|scales)$/.test(key) && partOf(key) === undefined) throw orphaned(key, where);
  return { encoded, partOf };
}

function blockSize(config: JsonObject | null, where: string): readonly [number, number] {
  const quantisation = quantisationOf(config);
  const size = blockSizeOf(quantisation);
  if (size !== null) return size;
  throw new InputError("BLOCK_SIZE_INVALID", `${where}: weight_block_size is no pair of sizes`, {
    file: where,
    expected: "two positive integers, e.g. [128, 128]",
    found: JSON.stringify(quantisation?.weight_block_size),
    help: "one scale for a whole tensor, or one a row, is not decoded here",
  });
}

/** With the source's own text for the key of the scales: a large model has tens of thousands of them. */
function withScales(source: Source, tensor: EncodedTensor, where: string): EncodedTensor {
  const { codes, scales, encoding } = tensor;
  const info = source.tensors.get(scales);
  if (info === undefined) throw missing(source, tensor, where);
  if (encoding.name === "fp8" && tensor.shape.length !== 2) {
    throw scaleFault(scales, where, "of a matrix", `of "${codes}" [${tensor.shape.join(", ")}]`);
  }
  const expected = encoding.stored(tensor).scales;
  const isSame = info.shape.length === expected.shape.length && info.shape.every((n, i) => n === expected.shape[i]);
  if (info.dtype === expected.dtype && isSame)
    return { encoding, key: tensor.key, shape: tensor.shape, codes, scales: info.key };
  const show = ({ dtype, shape }: Pick<TensorInfo, "dtype" | "shape">) => `${dtype} [${shape.join(", ")}]`;
  throw scaleFault(
    scales,
    where,
    `${show(expected)} for "${codes}" [${source.tensors.get(codes)!.shape.join(", ")}]`,
    show(info),
  );
}

const scaleFault = (tensor: string, file: string, expected: string, found: string): InputError =>
  new InputError("SCALE_SHAPE", `${file}: "${tensor}" is ${found}, expected ${expected}`, {
    tensor,
    file,
    expected,
    found,
    help: "weight_block_size in quantization_config has to be that of the file",
  });

function missing(source: Source, { codes, scales }: EncodedTensor, file: string): InputError {
  const stem = codes.replace(/(_blocks)?$/, "");
  const near = [...source.tensors.keys()].filter((key) => key !== codes && key.startsWith(stem));
  return new InputError(
    "SCALE_MISSING",
    `${file}: "${codes}" has no scales: without them its codes are other numbers`,
    {
      tensor: codes,
      file,
      expected: `"${scales}"`,
      found: near.length > 0 ? near.map((key) => `"${key}"`).join(", ") : "nothing of that name",
      help: "take the complete file; scales of other names or kinds are not guessed",
    },
  );
}

const orphaned = (tensor: string, file: string): InputError =>
  new InputError("SCALE_WITHOUT_WEIGHT", `${file}: "${tensor}" scales no encoded tensor`, {
    tensor,
    file,
    expected: `codes under "${tensor.replace(/_scale_inv$/, "").replace(/_scales$/, "_blocks")}" (F8_E4M3 or U8)`,
    found: "none, or of another dtype",
    help: "take the complete file, or one whose weights were decoded together with their scales",
  });

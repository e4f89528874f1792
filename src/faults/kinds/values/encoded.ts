// Weights that are stored as codes and scales, read wrongly.
import { elementCount } from "../../../base/dtype.ts";
import { isJsonObject } from "../../../base/json.ts";
import { recalculated } from "../../edit.ts";
import type { Sample } from "../../fault.ts";
import { along, exchanged } from "../axes.ts";
import { type Kind, tensorKind } from "../kind.ts";
import { keysLike } from "../names.ts";

function methodOf({ config }: Sample): string | null {
  const { quantization_config: quantisation } = config;
  return isJsonObject(quantisation) && typeof quantisation.quant_method === "string" ? quantisation.quant_method : null;
}

/** Tensors that are stored encoded. */
const encodedBy = (sample: Sample, method: string, pattern: RegExp): string[] =>
  methodOf(sample) === method ? keysLike(sample, pattern, ({ shape }) => shape.length > 1) : [];

const LARGEST_CODE = 448;

function blockOf({ config }: Sample): readonly [number, number] {
  const { quantization_config: quantisation } = config;
  const size = isJsonObject(quantisation) ? quantisation.weight_block_size : undefined;
  const [rows, columns]: unknown[] = Array.isArray(size) ? size : [];
  return [typeof rows === "number" ? rows : 128, typeof columns === "number" ? columns : 128];
}

/** Values of an FP8 matrix without the scale of each block. */
function withoutScales(sample: Sample, key: string): Uint8Array {
  const { shape } = sample.source.tensors.get(key)!;
  const columns = shape.at(-1)!;
  const [height, width] = blockOf(sample);
  const largest = new Map<number, number>();
  const across = Math.ceil(columns / width);
  const blockAt = (i: number) =>
    Math.floor(Math.floor(i / columns) / height) * across + Math.floor((i % columns) / width);
  recalculated(sample.source, key, (x, i) => {
    largest.set(blockAt(i), Math.max(largest.get(blockAt(i)) ?? 0, Math.abs(x)));
    return x;
  });
  return recalculated(sample.source, key, (x, i) => {
    const most = largest.get(blockAt(i))!;
    return most === 0 ? x : (x / most) * LARGEST_CODE;
  });
}

export const ENCODED: readonly Kind[] = [
  tensorKind({
    name: "fp8-scales-not-applied",
    code: "SCALED",
    about: "FP8 codes taken for the weights, without the scale of each block (unsloth#6200, abliterix#93)",
    places: (sample) => encodedBy(sample, "fp8", /_proj(?:_with_mqa)?\.weight$/),
    bytes: withoutScales,
  }),
  tensorKind({
    name: "mxfp4-nibbles-exchanged",
    code: "PAIRS_SWAPPED",
    alsoCodes: ["COLUMNS_REORDERED"],
    about: "the two codes of each byte in each other's place (gpt-oss ports)",
    places: (sample) => encodedBy(sample, "mxfp4", /experts\.(?:gate_up|down)_proj$/),
    bytes({ source }, key) {
      const { shape } = source.tensors.get(key)!;
      return along(source, key, { shape: [elementCount(shape) / 2, 2], axis: 1 }, exchanged(0, 1));
    },
  }),
  tensorKind({
    name: "mxfp4-scales-of-the-neighbour",
    code: "SCALED",
    alsoCodes: ["WEIGHTS_DIFFER"],
    about: "each block of 32 twice as large as it should be: an exponent's bias off by one",
    places: (sample) => encodedBy(sample, "mxfp4", /experts\.(?:gate_up|down)_proj$/),
    bytes: ({ source }, key) => recalculated(source, key, (x) => 2 * x),
  }),
];

// transformers' Kimi_K25ImageProcessor, and the class in Moonshot's own repositories that it replaces.
//   huggingface/transformers@v5.23.0:src/transformers/models/kimi_k25/image_processing_kimi_k25.py
import type { JsonObject } from "../../src/base/json.ts";
import type { FittedSize, Size } from "../../src/family/processor.ts";
import { isJsonObject } from "../common/config-reader.ts";
import { HALF, hfImageProcessor, ProcessorFields, pixelSteps, resizing } from "../common/processor-config.ts";

const TYPE = "Kimi_K25ImageProcessor";

export const kimiImageProcessor = hfImageProcessor(
  TYPE,
  (fields) => {
    const pixels = pixelSteps(fields, HALF);
    const { patchSize, mergeSize } = pixels;
    const limits = {
      patchSize,
      factor: patchSize * mergeSize,
      maxPatches: fields.count("max_patches", 16384),
      maxPatchesPerSide: squareLimit(fields),
    };
    return {
      ...pixels,
      resize: resizing(fields, "bicubic", (image) => paddedSize(image, limits)),
      frames: 1,
      patchAxes: ["colour", "frame", "row", "column"],
      patchOrder: "rows",
      // The chat template does.
      around: null,
    };
  },
  (json, file) => (isJsonObject(json.media_proc_cfg) ? moonshotFields(json.media_proc_cfg, file) : null),
);

/** As Moonshot's own repositories write it. */
function moonshotFields(json: JsonObject, file: string): ProcessorFields {
  const { merge_kernel_size: merge, in_patch_limit: max_patches, patch_limit_on_one_side: side } = json;
  const written = new ProcessorFields(json, file, "media_proc_cfg.");
  if ((json.fixed_output_tokens ?? null) !== null) written.refuse("fixed_output_tokens", "null");
  const kernel: readonly unknown[] = Array.isArray(merge) ? merge : [merge, merge];
  if (kernel.length !== 2 || kernel[0] !== kernel[1]) written.refuse("merge_kernel_size", "one number for both sides");
  const respelled = {
    merge_size: kernel[0],
    max_patches,
    ...(side === undefined ? {} : { size: { max_height: side, max_width: side } }),
  };
  return new ProcessorFields({ ...json, ...respelled }, file, "media_proc_cfg.");
}

function squareLimit(fields: ProcessorFields): number {
  const size = fields.object("size", { max_height: 512, max_width: 512 });
  const side = size.count("max_height");
  return size.count("max_width") === side ? side : size.refuse("max_width", `${side}, as max_height`);
}

/** Never enlarged; padded below and to the right to multiples of `factor`: `navit_resize`. */
function paddedSize(
  { height, width }: Size,
  {
    patchSize,
    factor,
    maxPatches,
    maxPatchesPerSide,
  }: Readonly<Record<"patchSize" | "factor" | "maxPatches" | "maxPatchesPerSide", number>>,
): FittedSize {
  const patches = (size: number) => Math.max(1, Math.floor(size / patchSize));
  const side = maxPatchesPerSide * patchSize;
  const scale = Math.min(1, Math.sqrt(maxPatches / (patches(height) * patches(width))), side / height, side / width);
  const bounded = (size: number) => Math.min(side, Math.max(1, Math.trunc(size * scale)));
  const pad = (size: number) => Math.ceil(size / factor) * factor;
  const resized = { height: bounded(height), width: bounded(width) };
  return { resized, padded: { height: pad(resized.height), width: pad(resized.width) } };
}

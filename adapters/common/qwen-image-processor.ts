// Qwen2VLImageProcessor, which Qwen's later models have too.
//   huggingface/transformers@v5.23.0:src/transformers/models/qwen2_vl/image_processing_qwen2_vl.py
import { InputError } from "../../src/base/errors.ts";
import type { Size } from "../../src/family/processor.ts";
import { hfImageProcessor, type ProcessorFields, pixelSteps, resizing } from "./processor-config.ts";
import { roundHalfEven } from "./round.ts";

/** `OPENAI_CLIP_MEAN` and `_STD`. */
const CLIP = {
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
} as const;

export const qwen2VlImageProcessor = hfImageProcessor("Qwen2VLImageProcessor", (fields) => {
  const pixels = pixelSteps(fields, CLIP);
  const limits = { ...areaLimits(fields), factor: pixels.patchSize * pixels.mergeSize };
  return {
    ...pixels,
    resize: resizing(fields, "bicubic", (image, file) => ({ resized: areaSize(image, file, limits) })),
    frames: fields.count("temporal_patch_size", 2),
    patchAxes: ["colour", "frame", "row", "column"],
    patchOrder: "squares",
    // The chat template does.
    around: null,
  };
});

interface AreaLimits {
  readonly minPixels: number;
  readonly maxPixels: number;
}

/** `min_pixels` and `max_pixels` take precedence over `size`, where transformers 5 writes the same limits. */
function areaLimits(fields: ProcessorFields): AreaLimits {
  const size = fields.object("size", { shortest_edge: 56 * 56, longest_edge: 28 * 28 * 1280 });
  const minPixels = fields.count("min_pixels", null) ?? size.count("shortest_edge");
  return { minPixels, maxPixels: fields.count("max_pixels", null) ?? size.count("longest_edge") };
}

const MAX_RATIO = 200;

/** Multiples of `factor` within limits of the area: `smart_resize`. */
function areaSize(
  { height, width }: Size,
  file: string,
  { factor, minPixels, maxPixels }: AreaLimits & { readonly factor: number },
): Size {
  if (Math.max(height, width) / Math.min(height, width) > MAX_RATIO) throw tooLong({ height, width }, file);
  const nearest = { height: roundHalfEven(height / factor) * factor, width: roundHalfEven(width / factor) * factor };
  const area = nearest.height * nearest.width;
  if (area > maxPixels) {
    const shrink = Math.sqrt((height * width) / maxPixels);
    const bounded = (size: number) => Math.max(factor, Math.floor(size / shrink / factor) * factor);
    return { height: bounded(height), width: bounded(width) };
  }
  if (area >= minPixels) return nearest;
  const grow = Math.sqrt(minPixels / (height * width));
  const bounded = (size: number) => Math.ceil((size * grow) / factor) * factor;
  return { height: bounded(height), width: bounded(width) };
}

const tooLong = ({ height, width }: Size, file: string): InputError =>
  new InputError("IMAGE_SIZE", `${file}: one side is over ${MAX_RATIO} times as long as the other`, {
    file,
    expected: `sides of at most ${MAX_RATIO} to 1`,
    found: `${width} × ${height}`,
    help: "cut the image into parts",
  });

// Images as a model's Hugging Face processor lays them out: patches, and a grid of them for each image.
import type { ImageInput } from "../../../numerics/graph.ts";
import { InputError } from "../../base/errors.ts";
import { decodeImage } from "./decode.ts";
import type { CommonProcessor, ImageProcessor } from "./processor.ts";
import { type Resampling, type RgbImage, resizeImage } from "./resize.ts";
import { areaSize, gridSize, paddedSize } from "./size.ts";

/** Patches of all images, one after another. @throws InputError where a file cannot be decoded or does not fit */
export async function imagePatches(files: readonly string[], processor: ImageProcessor): Promise<ImageInput> {
  const images: RgbImage[] = [];
  for (const file of files) images.push(fitImage(await decodeImage(file), processor, file));
  const { patchSize, mergeSize } = processor;
  const frames = processor.kind === "kimi_k25" ? 1 : processor.patchFrames;
  const patchDim = 3 * frames * patchSize ** 2;
  const patches = images.reduce((sum, { height, width }) => sum + (height * width) / patchSize ** 2, 0);
  const pixels = new Float32Array(patches * patchDim);
  const values = valuesOf(processor);
  let at = 0;
  for (const image of images) {
    const merged = processor.kind === "qwen2_vl" ? mergeSize : 1;
    for (const corner of corners(image, patchSize, merged)) {
      writePatch(
        pixels.subarray(at, at + patchDim),
        image,
        corner,
        { patchSize, frames, kind: processor.kind },
        values,
      );
      at += patchDim;
    }
  }
  const grids = images.map(({ height, width }) => [1, height / patchSize, width / patchSize] as const);
  return { pixels, patches, patchDim, grids };
}

/** An image in the size that the processor gives it. */
export function fitImage(image: RgbImage, processor: ImageProcessor, file: string): RgbImage {
  const factor = processor.patchSize * processor.mergeSize;
  const fitted = processor.resampling === null ? image : resizeFor(image, processor, processor.resampling, file);
  const { height, width } = fitted;
  if (height > 0 && width > 0 && height % factor === 0 && width % factor === 0) return fitted;
  throw new InputError("IMAGE_SIZE", `${file}: ${width} × ${height} pixels cannot be cut into patches`, {
    file,
    expected: `a width and a height that are multiples of ${factor}`,
    found: `${width} × ${height}`,
    help: `scale the image, or let ${processor.file} say "do_resize": true`,
  });
}

function resizeFor(image: RgbImage, processor: ImageProcessor, resampling: Resampling, file: string): RgbImage {
  const factor = processor.patchSize * processor.mergeSize;
  switch (processor.kind) {
    case "qwen2_vl": {
      const size = areaSize(image, { ...processor, factor });
      if (size !== null) return resizeImage(image, size.height, size.width, resampling);
      throw new InputError("IMAGE_SIZE", `${file}: one side is over 200 times as long as the other`, {
        file,
        expected: "sides of at most 200 to 1",
        found: `${image.width} × ${image.height}`,
        help: "cut the image into parts",
      });
    }
    case "kimi_k25": {
      const { resized, padded } = paddedSize(image, { ...processor, factor });
      return padImage(resizeImage(image, resized.height, resized.width, resampling), padded.height, padded.width);
    }
    case "muse_glimmer": {
      const { height, width } = gridSize(image, { ...processor, factor });
      return resizeImage(image, height, width, resampling);
    }
  }
}

/** Black below and to the right. */
function padImage({ height, width, rgb }: RgbImage, rows: number, columns: number): RgbImage {
  const out = new Uint8Array(rows * columns * 3);
  for (let y = 0; y < height; y++) out.set(rgb.subarray(y * width * 3, (y + 1) * width * 3), y * columns * 3);
  return { height: rows, width: columns, rgb: out };
}

interface Corner {
  readonly top: number;
  readonly left: number;
}

/** Top left corners of the patches, row by row of squares of `merge` by `merge` of them. */
function* corners({ height, width }: RgbImage, size: number, merge: number): Generator<Corner> {
  const square = size * merge;
  for (let top = 0; top < height; top += square) {
    for (let left = 0; left < width; left += square) {
      for (let i = 0; i < merge ** 2; i++) {
        yield { top: top + size * Math.floor(i / merge), left: left + size * (i % merge) };
      }
    }
  }
}

/** [colour, frame, row, column] for Qwen, [frame, colour, row, column] for Muse; a still image is every frame. */
function writePatch(
  patch: Float32Array,
  { width, rgb }: RgbImage,
  { top, left }: Corner,
  { patchSize, frames, kind }: { patchSize: number; frames: number; kind: ImageProcessor["kind"] },
  values: readonly Float32Array[],
): void {
  const area = patchSize ** 2;
  const [colourStride, frameStride] = kind === "muse_glimmer" ? [area, 3 * area] : [frames * area, area];
  for (let colour = 0; colour < 3; colour++) {
    const table = values[colour]!;
    for (let y = 0; y < patchSize; y++) {
      const row = 3 * ((top + y) * width + left) + colour;
      for (let x = 0; x < patchSize; x++) {
        const value = table[rgb[row + 3 * x]!]!;
        const at = colour * colourStride + y * patchSize + x;
        for (let frame = 0; frame < frames; frame++) patch[at + frame * frameStride] = value;
      }
    }
  }
}

/**
 * What becomes of each of the 256 values, by colour, in f32 as torch computes it: rescaling is folded into the mean and the
 * deviation where there are both.
 */
function valuesOf({ rescale, normalise }: CommonProcessor): Float32Array[] {
  const f32 = Math.fround;
  return [0, 1, 2].map((colour) => {
    const factor = normalise !== null && rescale !== null ? f32(1 / rescale) : 1;
    const mean = f32(f32(normalise?.mean[colour] ?? 0) * factor);
    const std = f32(f32(normalise?.std[colour] ?? 1) * factor);
    const scale = normalise === null && rescale !== null ? f32(rescale) : 1;
    return Float32Array.from({ length: 256 }, (_, value) => f32(f32(f32(value * scale) - mean) / std));
  });
}

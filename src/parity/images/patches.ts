// Images as a model's Hugging Face processor lays them out: patches, and a grid of them for each image.
import type { ImageInput } from "../../../numerics/graph.ts";
import { InputError } from "../../base/errors.ts";
import type { FittedSize, ImageSteps, PatchAxis, Size } from "../../family/processor.ts";
import { decodeImage } from "./decode.ts";
import { type RgbImage, resizeImage } from "./resize.ts";
import type { ConfiguredSteps } from "./steps.ts";

const COLOURS = 3;

/** Values of one patch. */
export const patchDimOf = ({ frames, patchSize }: Pick<ImageSteps, "frames" | "patchSize">): number =>
  COLOURS * frames * patchSize ** 2;

/** Patches of all images, one after another. @throws InputError where a file cannot be decoded or does not fit */
export async function imagePatches(files: readonly string[], configured: ConfiguredSteps): Promise<ImageInput> {
  const images: RgbImage[] = [];
  for (const file of files) images.push(fitImage(await decodeImage(file), configured, file));
  const { steps } = configured;
  const { patchSize } = steps;
  const patchDim = patchDimOf(steps);
  const patches = images.reduce((sum, { height, width }) => sum + (height * width) / patchSize ** 2, 0);
  const pixels = new Float32Array(patches * patchDim);
  const patch = { ...steps, strides: stridesOf(steps), values: valuesOf(steps) };
  let at = 0;
  for (const image of images) {
    for (const corner of corners(image, steps)) {
      writePatch(pixels.subarray(at, at + patchDim), image, corner, patch);
      at += patchDim;
    }
  }
  const grids = images.map(({ height, width }) => [1, height / patchSize, width / patchSize] as const);
  return { pixels, patches, patchDim, grids };
}

/** An image in the size that the processor gives it. @throws InputError IMAGE_SIZE */
function fitImage(image: RgbImage, { steps, file: config }: ConfiguredSteps, file: string): RgbImage {
  const { resize, patchSize, mergeSize } = steps;
  const { resized, padded = resized }: FittedSize = resize === null ? { resized: image } : resize.sizeOf(image, file);
  const factor = patchSize * mergeSize;
  const isCut = (size: number) => size > 0 && size % factor === 0;
  if (isCut(padded.height) && isCut(padded.width) && isWithin(resized, padded)) {
    return resize === null ? image : padImage(resizeImage(image, resized, resize.filter), padded);
  }
  const shown = ({ height, width }: Size) => `${width} × ${height}`;
  const found = padded === resized ? shown(resized) : `${shown(resized)}, padded to ${shown(padded)}`;
  throw new InputError("IMAGE_SIZE", `${file}: ${found} pixels cannot be cut into patches`, {
    file,
    expected: `a width and a height that are multiples of ${factor}`,
    found,
    help: `scale the image, or let ${config} say "do_resize": true`,
  });
}

const isWithin = (inner: Size, outer: Size): boolean =>
  [inner.height, inner.width].every((size) => Number.isInteger(size) && size > 0) &&
  inner.height <= outer.height &&
  inner.width <= outer.width;

/** Black below and to the right. */
function padImage(image: RgbImage, { height: rows, width: columns }: Size): RgbImage {
  const { height, width, rgb } = image;
  if (height === rows && width === columns) return image;
  const out = new Uint8Array(rows * columns * COLOURS);
  const stride = width * COLOURS;
  for (let y = 0; y < height; y++) out.set(rgb.subarray(y * stride, (y + 1) * stride), y * columns * COLOURS);
  return { height: rows, width: columns, rgb: out };
}

interface Corner {
  readonly top: number;
  readonly left: number;
}

/** Top left corners of the patches: of squares of them row by row, and so within each. */
function* corners({ height, width }: Size, { patchSize, mergeSize, patchOrder }: ImageSteps): Generator<Corner> {
  const merge = patchOrder === "squares" ? mergeSize : 1;
  const square = patchSize * merge;
  for (let top = 0; top < height; top += square) {
    for (let left = 0; left < width; left += square) {
      for (let i = 0; i < merge ** 2; i++) {
        yield { top: top + patchSize * Math.floor(i / merge), left: left + patchSize * (i % merge) };
      }
    }
  }
}

interface Patch extends Pick<ImageSteps, "patchSize" | "frames"> {
  readonly strides: Readonly<Record<PatchAxis, number>>;
  /** Of each of the 256 values, by colour. */
  readonly values: readonly Float32Array[];
}

function writePatch(
  out: Float32Array,
  { width, rgb }: RgbImage,
  { top, left }: Corner,
  { patchSize, frames, strides, values }: Patch,
): void {
  for (let colour = 0; colour < COLOURS; colour++) {
    const table = values[colour]!;
    for (let y = 0; y < patchSize; y++) {
      const row = COLOURS * ((top + y) * width + left) + colour;
      for (let x = 0; x < patchSize; x++) {
        const value = table[rgb[row + COLOURS * x]!]!;
        const at = colour * strides.colour + y * strides.row + x * strides.column;
        for (let frame = 0; frame < frames; frame++) out[at + frame * strides.frame] = value;
      }
    }
  }
}

/** Of the axes of a patch, row-major. */
function stridesOf({ patchAxes, patchSize, frames }: ImageSteps): Readonly<Record<PatchAxis, number>> {
  const sizes = { colour: COLOURS, frame: frames, row: patchSize, column: patchSize };
  const strides = { colour: 0, frame: 0, row: 0, column: 0 };
  let stride = 1;
  for (const axis of patchAxes.toReversed()) {
    strides[axis] = stride;
    stride *= sizes[axis];
  }
  return strides;
}

/**
 * What becomes of each of the 256 values, by colour, in f32 as torch computes it: rescaling is folded into the mean and the
 * deviation where there are both.
 */
function valuesOf({ rescale, normalise }: ImageSteps): Float32Array[] {
  const f32 = Math.fround;
  return [0, 1, 2].map((colour) => {
    const factor = normalise !== null && rescale !== null ? f32(1 / rescale) : 1;
    const mean = f32(f32(normalise?.mean[colour] ?? 0) * factor);
    const std = f32(f32(normalise?.std[colour] ?? 1) * factor);
    const scale = normalise === null && rescale !== null ? f32(rescale) : 1;
    return Float32Array.from({ length: 256 }, (_, value) => f32(f32(f32(value * scale) - mean) / std));
  });
}

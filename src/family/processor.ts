// How a model takes images: what its family says of the Hugging Face processor, as data and pure functions. Decoding,
// resizing and cutting into patches are the core's.
import type { JsonObject } from "../base/json.ts";

/** The processor of a family's images. */
export interface ImageProcessor {
  /**
   * Names of its config files beside a checkpoint. Of several in one folder the first that configures images counts.
   */
  readonly configs: readonly string[];
  /**
   * What such a file says of images; null where it says nothing of them.
   * Throws InputError PROCESSOR_UNKNOWN for one of another processor, PROCESSOR_INVALID naming the field.
   */
  read(json: JsonObject, file: string): ImageSteps | null;
}

/** What becomes of an image, in this order. */
export interface ImageSteps {
  /** Null where images keep their size. */
  readonly resize: Resizing | null;
  /** What values from 0 to 255 are multiplied by. */
  readonly rescale: number | null;
  /** (value − mean) / std, by colour. */
  readonly normalise: { readonly mean: Colours; readonly std: Colours } | null;
  /** Pixels along an edge of a patch. */
  readonly patchSize: number;
  /** Patches along an edge of the square that becomes one token. */
  readonly mergeSize: number;
  /** Frames in a patch; a still image is repeated for each of them. */
  readonly frames: number;
  /** How the values of a patch lie, the axis with the largest stride first. */
  readonly patchAxes: PatchAxes;
  /** Patches of an image row by row, or row by row of squares and so within a square. */
  readonly patchOrder: "rows" | "squares";
  /** Tokens that the processor writes before and after those of an image; null where the text has them. */
  readonly around: readonly [string, string] | null;
}

export interface Resizing {
  readonly filter: Filter;
  /**
   * Both sides, after padding, have to be multiples of patchSize · mergeSize.
   * Throws InputError IMAGE_SIZE for an image that it does not take; `file` is the image, for the message.
   */
  readonly sizeOf: (image: Size, file: string) => FittedSize;
}

/** As torch has them, with antialias=True; `bicubic` is Keys' with a = −1/2. */
export type Filter = "bilinear" | "bicubic" | "lanczos";

/** In pixels. */
export interface Size {
  readonly height: number;
  readonly width: number;
}

export interface FittedSize {
  readonly resized: Size;
  /** What the resized image is filled up to with black, below and to the right. */
  readonly padded?: Size | undefined;
}

/** Red, green and blue. */
export type Colours = readonly [number, number, number];

export type PatchAxis = "colour" | "frame" | "row" | "column";
export type PatchAxes = readonly [PatchAxis, PatchAxis, PatchAxis, PatchAxis];

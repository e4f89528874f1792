// --inputs FILE: safetensors of input_ids I64 [T] and, for a vision-language model, pixel_values F32 [patches,
// patchDim], image_grid_thw I64 [images, 3] and position_ids I64 [T, 3].

import type { ForwardInput, ImageInput } from "../../../numerics/graph.ts";
import { InputError } from "../../base/errors.ts";
import type { VisionInput } from "../../family/family.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import { openSafetensors } from "../../formats/safetensors/open.ts";
import { AS_PROCESSOR, describeTensor, invalidTensor, readIds, readIntegers } from "./tensors.ts";

const KEYS = ["input_ids", "pixel_values", "image_grid_thw", "position_ids"];

/** @throws InputError INPUTS_INVALID or INPUT_NOT_SUPPORTED, naming the tensor */
export function readInputs(path: string, vision: VisionInput | undefined): ForwardInput {
  const file = openSafetensors(path);
  try {
    const ids_T = readIds(file);
    const unknown = [...file.tensors.keys()].find((key) => !KEYS.includes(key));
    if (unknown) throw refused(file, unknown, KEYS.join(", "));
    const positions_T3 = readPositions(file, ids_T.length, vision);
    if (vision === undefined) {
      const pixels = KEYS.slice(1, 3).find((key) => file.tensors.has(key));
      if (pixels) throw refused(file, pixels, "input_ids alone: the model has text as its only modality");
      return { ids_T };
    }
    const images = readImages(file, vision);
    checkImages(ids_T, images, vision, path);
    return { ids_T, images, positions_T3 };
  } finally {
    file.close();
  }
}

/** Of a text model they can only say what it does anyway. */
function readPositions(file: Checkpoint, tokens: number, vision: VisionInput | undefined) {
  if (!file.tensors.has("position_ids")) return undefined;
  const shapes = vision === undefined ? [[tokens], [tokens, 3]] : [[tokens, 3]];
  const values = readIntegers(file, "position_ids", shapes);
  const axes = values.length / tokens;
  if (vision === undefined) {
    if (values.some((position, i) => position !== Math.floor(i / axes))) {
      throw refused(file, "position_ids", "positions 0, 1, 2, …");
    }
    return undefined;
  }
  return Array.from({ length: tokens }, (_, t) => [values[3 * t]!, values[3 * t + 1]!, values[3 * t + 2]!] as const);
}

function readImages(file: Checkpoint, { patchDim }: VisionInput): ImageInput | undefined {
  const info = file.tensors.get("pixel_values");
  const grid = file.tensors.get("image_grid_thw");
  if (info === undefined && grid === undefined) return undefined;
  const [patches, dim] = info?.shape ?? [];
  if (info?.dtype !== "F32" || info.shape.length !== 2 || patches === undefined || dim !== patchDim) {
    throw invalid(file.path, "pixel_values", `F32 [patches, ${patchDim}]`, describeTensor(file, "pixel_values"));
  }
  const [images = 0] = grid?.shape ?? [];
  if (grid === undefined || images === 0) {
    throw invalid(file.path, "image_grid_thw", "I64 [images, 3]", describeTensor(file, "image_grid_thw"));
  }
  const numbers = readIntegers(file, "image_grid_thw", [[images, 3]]);
  const grids = Array.from(
    { length: images },
    (_, i) => [numbers[3 * i]!, numbers[3 * i + 1]!, numbers[3 * i + 2]!] as const,
  );
  const pixels = new Float32Array(patches * dim);
  file.read("pixel_values", 0, new Uint8Array(pixels.buffer));
  const bad = pixels.findIndex((x) => !Number.isFinite(x));
  if (bad >= 0) {
    const found = `${pixels[bad]} in patch ${Math.floor(bad / dim)}`;
    throw invalid(file.path, "pixel_values", "finite numbers", found);
  }
  return { pixels, patches, patchDim: dim, grids };
}

/** Patches, grids and image tokens have to tell of the same images. */
export function checkImages(
  ids_T: readonly number[],
  images: ImageInput | undefined,
  { mergeSize, imageToken, videoToken }: VisionInput,
  path: string,
): void {
  const grids = images?.grids ?? [];
  for (const [i, [t, h, w]] of grids.entries()) {
    const found = `image ${i}: [${t}, ${h}, ${w}]`;
    if (t !== 1) throw invalid(path, "image_grid_thw", "one frame an image; there are no videos here yet", found);
    if (h < 1 || w < 1 || h % mergeSize !== 0 || w % mergeSize !== 0) {
      throw invalid(path, "image_grid_thw", `rows and columns that are multiples of ${mergeSize}`, found);
    }
  }
  const patches = grids.reduce((sum, [t, h, w]) => sum + t * h * w, 0);
  if (patches !== (images?.patches ?? 0)) {
    throw invalid(path, "pixel_values", `${patches} patches, as image_grid_thw says`, `${images?.patches ?? 0}`);
  }
  const frame = ids_T.findIndex((id) => id === videoToken && id !== imageToken);
  if (frame >= 0) {
    const expected = `no video tokens (id ${videoToken}): there are no videos here yet`;
    throw invalid(path, "input_ids", expected, `one at position ${frame}`);
  }
  const places = ids_T.filter((id) => id === imageToken).length;
  if (places !== patches / mergeSize ** 2) {
    const expected = `${patches / mergeSize ** 2} image tokens (id ${imageToken})`;
    throw invalid(path, "input_ids", expected, `${places}`);
  }
}

const refused = ({ path: file }: Checkpoint, tensor: string, expected: string): InputError =>
  new InputError("INPUT_NOT_SUPPORTED", `${file}: this model takes no such "${tensor}"`, {
    file,
    tensor,
    expected,
    found: tensor,
    help: `leave "${tensor}" out of the file`,
  });

const invalid = (file: string, tensor: string, expected: string, found: string): InputError =>
  invalidTensor("INPUTS_INVALID", file, tensor, [expected, found], AS_PROCESSOR);

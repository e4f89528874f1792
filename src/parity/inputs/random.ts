// Random input, made so that known faults of models show in it.

import type { ImageInput } from "../../../numerics/graph.ts";
import type { VisionInput } from "../../family/family.ts";
import type { InputLimits, ResolvedInputs } from "./resolved.ts";

/** A wrong rotary embedding does not show in shorter inputs. */
export const MIN_GENERATED_TOKENS = 512;

/** At least 512 tokens. For a vision-language model, two images of different grids are among them. */
export function randomInputs(
  { tokens: asked = MIN_GENERATED_TOKENS, seed = 0 }: { readonly tokens?: number; readonly seed?: number },
  { vocabSize, maxPositions, vision }: InputLimits,
): ResolvedInputs {
  const tokens = Math.min(Math.max(asked, MIN_GENERATED_TOKENS), maxPositions);
  const reason =
    tokens === maxPositions && tokens < Math.max(asked, MIN_GENERATED_TOKENS)
      ? `the model's context is ${maxPositions} tokens`
      : `generated input has at least ${MIN_GENERATED_TOKENS} tokens`;
  const about = { kind: "random", tokens, seed, ...(tokens === asked ? {} : { note: reason }) } as const;
  const ids = randomIds(tokens, vocabSize, seed);
  if (vision === undefined) return { input: { ids_T: ids }, about };
  const images = randomImages(vision, seed);
  const text = withoutReserved(ids, vision, vocabSize);
  const ids_T = withImages(text, images, vision);
  if (ids_T !== null) return { input: { ids_T, images }, about: { ...about, images: images.grids.length } };
  return { input: { ids_T: text }, about: { ...about, note: `${reason}: no room for images` } };
}

/**
 * Seeded ids that exercise what breaks: both edges of the vocabulary, one token many times in a row, a passage that
 * comes again later, and uniform ids for the rest.
 */
export function randomIds(tokens: number, vocabSize: number, seed: number): number[] {
  const random = generator(seed);
  const ids = Array.from({ length: tokens }, () => Math.floor(random() * vocabSize));
  ids[0] = 0;
  ids[1] = vocabSize - 1;
  const run = tokens >> 4;
  ids.fill(ids[run]!, 2 * run, 3 * run);
  const passage = tokens >> 3;
  ids.splice(tokens - passage, passage, ...ids.slice(0, passage));
  return ids.slice(0, tokens);
}

/** One wide and one high image, of other sizes than any power of two; pixels are standard normal. */
function randomImages({ patchDim, mergeSize: m }: VisionInput, seed: number): ImageInput {
  const grids = [
    [1, 3 * m, 5 * m],
    [1, 7 * m, 2 * m],
  ] as const;
  const patches = grids.reduce((sum, [t, h, w]) => sum + t * h * w, 0);
  const random = generator(seed + 1);
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return { pixels: Float32Array.from({ length: patches * patchDim }, normal), patches, patchDim, grids };
}

function withoutReserved(ids: readonly number[], vision: VisionInput, vocabSize: number): number[] {
  const special = new Set([...vision.reserved, vision.imageToken, ...(vision.around ?? [])]);
  const plain = Array.from({ length: vocabSize }, (_, id) => id).find((id) => !special.has(id)) ?? 0;
  return ids.map((id) => (special.has(id) ? plain : id));
}

/** The ids with the images a quarter and a half along; null where they leave no room for text. */
function withImages(
  ids: readonly number[],
  { grids }: ImageInput,
  { mergeSize, imageToken, around }: VisionInput,
): number[] | null {
  const out = [...ids];
  let at = ids.length >> 2;
  for (const [t, h, w] of grids) {
    const merged = Array<number>((t * h * w) / mergeSize ** 2).fill(imageToken);
    const tokens = around ? [around[0], ...merged, around[1]] : merged;
    if (at + tokens.length + 2 > ids.length) return null;
    out.splice(at, tokens.length, ...tokens);
    at += tokens.length + (ids.length >> 4);
  }
  return out;
}

/** Uniform in [0, 1): mulberry32. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

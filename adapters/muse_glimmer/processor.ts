// MuseGlimmerImageProcessor.
//   huggingface/transformers@v5.23.0:src/transformers/models/muse_glimmer/image_processing_muse_glimmer.py
import type { Size } from "../../src/family/processor.ts";
import { HALF, hfImageProcessor, pixelSteps, resizing } from "../common/processor-config.ts";
import { roundHalfEven } from "../common/round.ts";

export const museImageProcessor = hfImageProcessor("MuseGlimmerImageProcessor", (fields) => {
  const pixels = pixelSteps(fields, HALF);
  const factor = pixels.patchSize * pixels.mergeSize;
  const maxTokens = fields.count("max_image_tokens", 4096);
  return {
    ...pixels,
    resize: resizing(fields, "lanczos", (image) => ({ resized: gridSize(image, factor, maxTokens) })),
    frames: fields.count("temporal_patch_size", 2),
    patchAxes: ["frame", "colour", "row", "column"],
    patchOrder: "rows",
    around: ["<|image_start|>", "<|image_end|>"],
  };
});

/**
 * `smart_resize`: of the grids around the image's own size, or around the largest allowed, the one with the most
 * similar aspect ratio.
 */
function gridSize({ height, width }: Size, factor: number, maxTokens: number): Size {
  let rows = height / factor;
  let columns = width / factor;
  if (rows * columns > maxTokens) {
    const ratio = columns / rows;
    rows = Math.sqrt(maxTokens / ratio);
    columns = rows * ratio;
  }
  const around = (x: number) => [...new Set([Math.floor(x), Math.ceil(x)])];
  const all = around(rows).flatMap((h) => around(columns).map((w) => [h, w] as const));
  const grids = inSetOrder(all).filter(([h, w]) => h >= 1 && w >= 1 && h * w <= maxTokens);
  const own = [Math.max(1, roundHalfEven(rows)), Math.max(1, roundHalfEven(columns))] as const;
  const [first = own, ...others] = grids;
  const off = ([h, w]: readonly [number, number]) => Math.abs(h / w - height / width);
  const [h, w] = others.reduce((best, grid) => (off(grid) < off(best) ? grid : best), first);
  return { height: h * factor, width: w * factor };
}

/**
 * Up to four pairs in the order in which a Python set gives them. Of grids with equally similar ratios transformers
 * takes the first. A square image always has two such.
 * python/cpython@v3.11.0:Objects/setobject.c (set_add_entry)
 */
function inSetOrder<T extends readonly [number, number]>(pairs: readonly T[]): T[] {
  const slots = Array<T | undefined>(8).fill(undefined);
  for (const pair of pairs) {
    let perturb = hashOf(pair);
    let slot = perturb & 7n;
    while (slots[Number(slot)] !== undefined) {
      perturb >>= 5n;
      slot = (slot * 5n + 1n + perturb) & 7n;
    }
    slots[Number(slot)] = pair;
  }
  return slots.filter((pair) => pair !== undefined);
}

const PRIMES = [11400714785074694791n, 14029467366897019727n, 2870177450012600261n] as const;

/** python/cpython@v3.11.0:Objects/tupleobject.c (tuplehash), of 64 bits. */
function hashOf(pair: readonly [number, number]): bigint {
  let hash: bigint = PRIMES[2];
  for (const number of pair) {
    const sum = BigInt.asUintN(64, hash + BigInt(number) * PRIMES[1]);
    hash = BigInt.asUintN(64, ((sum << 31n) | (sum >> 33n)) * PRIMES[0]);
  }
  return BigInt.asUintN(64, hash + (2n ^ PRIMES[2] ^ 3527539n));
}

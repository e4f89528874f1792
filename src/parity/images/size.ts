// The size that each kind of processor gives an image, in pixels.

export interface Size {
  readonly height: number;
  readonly width: number;
}

/** Python's: halves to the even neighbour. */
function round(x: number): number {
  const below = Math.floor(x);
  const rest = x - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}

/**
 * Multiples of `factor` within limits of the area; null where one side is over 200 times the other.
 * huggingface/transformers@v5.23.0:src/transformers/models/qwen2_vl/image_processing_qwen2_vl.py (smart_resize)
 */
export function areaSize(
  { height, width }: Size,
  { factor, minPixels, maxPixels }: { readonly factor: number; readonly minPixels: number; readonly maxPixels: number },
): Size | null {
  if (Math.max(height, width) / Math.min(height, width) > 200) return null;
  const nearest = { height: round(height / factor) * factor, width: round(width / factor) * factor };
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

/**
 * Never enlarged; padded below and to the right to multiples of `factor`.
 * huggingface/transformers@v5.23.0:src/transformers/models/kimi_k25/image_processing_kimi_k25.py (navit_resize)
 */
export function paddedSize(
  { height, width }: Size,
  {
    patchSize,
    factor,
    maxPatches,
    maxPatchesPerSide,
  }: {
    readonly patchSize: number;
    readonly factor: number;
    readonly maxPatches: number;
    readonly maxPatchesPerSide: number;
  },
): { readonly resized: Size; readonly padded: Size } {
  const patches = (size: number) => Math.max(1, Math.floor(size / patchSize));
  const side = maxPatchesPerSide * patchSize;
  const scale = Math.min(1, Math.sqrt(maxPatches / (patches(height) * patches(width))), side / height, side / width);
  const bounded = (size: number) => Math.min(side, Math.max(1, Math.trunc(size * scale)));
  const pad = (size: number) => Math.ceil(size / factor) * factor;
  const resized = { height: bounded(height), width: bounded(width) };
  return { resized, padded: { height: pad(resized.height), width: pad(resized.width) } };
}

/**
 * Of the grids around the image's own size, or around the largest allowed, the one of the most similar shape.
 * huggingface/transformers@v5.23.0:src/transformers/models/muse_glimmer/image_processing_muse_glimmer.py (smart_resize)
 */
export function gridSize(
  { height, width }: Size,
  { factor, maxTokens }: { readonly factor: number; readonly maxTokens: number },
): Size {
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
  const [first = [Math.max(1, round(rows)), Math.max(1, round(columns))] as const, ...others] = grids;
  const off = ([h, w]: readonly [number, number]) => Math.abs(h / w - height / width);
  const [h, w] = others.reduce((best, grid) => (off(grid) < off(best) ? grid : best), first);
  return { height: h * factor, width: w * factor };
}

/**
 * Up to four pairs in the order in which a Python set gives them. Of grids of one shape transformers takes the first, and
 * a square image always has two.
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

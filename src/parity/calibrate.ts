// Which of two backends is faster here, by a short measurement of what forward passes do most: a matrix product.
import type { Backend, WeightSource } from "../../numerics/backend.ts";

/** Tokens, and channels of the weight: a size that large models have, so that caches count as they do there. */
const [TOKENS, CHANNELS] = [128, 4096];
/** Of each backend, in turns; the best one counts, as other programs only slow down. */
const ROUNDS = 2;

/** Seconds of one product on each, in their order. */
export async function secondsOfProduct(backends: readonly Backend[]): Promise<number[]> {
  const runs = await Promise.all(backends.map(productOn));
  const best = runs.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, run] of runs.entries()) {
      const begin = performance.now();
      await run();
      best[i] = Math.min(best[i]!, (performance.now() - begin) / 1e3);
    }
  }
  for (const backend of backends) await backend.evaluate([]); // frees what was measured
  return best;
}

/** The first run, which starts threads and compiles kernels, is behind it. */
async function productOn(backend: Backend): Promise<() => Promise<void>> {
  const { ops } = backend;
  const x = ops.affine(backend.weight(ones("x", [TOKENS, CHANNELS])), 1, 0);
  const run = async () => {
    const y = ops.linear(x, backend.weight(ones("w", [CHANNELS, CHANNELS])));
    await backend.evaluate([x, y]);
    await backend.readback(y, 0, 1);
    await backend.evaluate([x]);
  };
  await run();
  return run;
}

/** 1 in BF16. */
const ONE = 0x3f80;

const ones = (key: string, shape: readonly number[]): WeightSource => ({
  key,
  dtype: "BF16",
  shape,
  read: (_, { buffer, byteOffset, byteLength }) => new Uint16Array(buffer, byteOffset, byteLength / 2).fill(ONE),
});

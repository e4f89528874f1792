// Experts that lie transposed, as in Llama 4 and gpt-oss, moved in memory: with vectors and by plain loops, each as a ratio
// to a plain copy of the same bytes in the same run. Target: at least 3 times plain loops for BF16 (measured: 3 to 5, and 2 for F32).
import { Gatherer } from "../../dist/src/views/gather.js";
import { median } from "./measure.mjs";

const rounds = 7;

/** `e r c` → `e c r` */
const transposed = (experts, rows, columns) => ({
  key: "stack",
  shape: [experts, columns, rows],
  rule: "bench",
  pieces: [
    {
      source: "stack",
      sourceOffset: 0,
      targetOffset: 0,
      sizes: [experts, columns, rows],
      sourceStrides: [rows * columns, 1, columns],
      targetStrides: [rows * columns, rows, 1],
    },
  ],
});

const copied = (count) => ({
  key: "stack",
  shape: [count],
  rule: "bench",
  pieces: [
    { source: "stack", sourceOffset: 0, targetOffset: 0, sizes: [count], sourceStrides: [1], targetStrides: [1] },
  ],
});

export async function run() {
  for (const dtype of ["BF16", "F32"]) {
    for (const [experts, rows, columns] of [
      [16, 768, 2048],
      [2, 2880, 5760],
      [2, 4096, 4096],
    ]) {
      const count = experts * rows * columns;
      const bytes = new Uint8Array(count * (dtype === "F32" ? 4 : 2)).map((_, i) => i * 31 + (i >> 8));
      const target = new Uint8Array(bytes.length);
      const read = (_key, begin, into) => into.set(bytes.subarray(begin, begin + into.length));
      const timed = (gatherer, move) => {
        const begin = performance.now();
        let at = 0;
        gatherer.gather(move, dtype, [0, bytes.length], read, (made) => {
          target.set(made, at);
          at += made.length;
        });
        return performance.now() - begin;
      };
      const [vectors, loops, plain] = [new Gatherer(), new Gatherer(undefined, { vectors: false }), new Gatherer()];
      const [move, copy] = [transposed(experts, rows, columns), copied(count)];
      const times = { vectors: [], loops: [], copy: [] };
      for (let round = 0; round <= rounds; round++) {
        const took = { copy: timed(plain, copy), loops: timed(loops, move), vectors: timed(vectors, move) };
        if (round > 0) for (const [name, ms] of Object.entries(took)) times[name].push(ms);
      }
      const against = (name, other) => median(times[name].map((ms, i) => times[other][i] / ms));
      console.log(
        `${dtype} ${experts} × [${rows}, ${columns}]: ${against("vectors", "loops").toFixed(1)}× plain loops; of the speed of a copy: vectors ${against("vectors", "copy").toFixed(2)}, loops ${against("loops", "copy").toFixed(2)}; ${(bytes.length / median(times.vectors) / 1e6).toFixed(2)} GB/s`,
      );
    }
  }
}

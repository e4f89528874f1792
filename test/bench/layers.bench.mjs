// Layers in the shape of Llama 3.1 8B, 512 tokens, weights in bf16 from memory: seconds a layer and FLOP rates, and with
// CONVERT_CHECKPOINT_PEAK_TFLOPS (f32 of the GPU, or f16 where subgroup matrices are used) the share of that peak. A real
// GPU runs all 32 layers, backends on the CPU one; CONVERT_CHECKPOINT_LAYERS sets another number.
import { llama3 } from "../../dist/adapters/llama3/index.js";
import { runForwards } from "../../dist/numerics/driver.js";
import { planForward } from "../../dist/numerics/shapes/plan.js";
import { describeAdapter } from "../../dist/numerics/webgpu/device/adapter.js";
import { openBackend } from "../../dist/src/parity/backend.js";
import { median } from "./measure.mjs";
import { configOf, shapes } from "./random-llama.mjs";
import { fillRandom } from "./random-model.mjs";

const rounds = 3;
const tokens = 512;
const shape = { dim: 4096, ffn: 14336, vocab: 1024, heads: 32, kvHeads: 8, tied: true };
const block = new Uint16Array(1 << 20);
fillRandom(block);
const stored = new Uint8Array(block.buffer);

/** The same megabytes again and again. */
function read(begin, target) {
  for (let at = 0; at < target.length; ) {
    const from = (begin + at) % stored.length;
    const piece = stored.subarray(from, from + Math.min(stored.length - from, target.length - at));
    target.set(piece, at);
    at += piece.length;
  }
}

async function bench(choice, layers) {
  const model = { ...shape, layers };
  const forward = llama3.open(configOf(model), "config.json").hf.forward();
  const headers = new Map(shapes(model).map(([key, shape]) => [key, { key, dtype: "BF16", shape }]));
  const input = { ids_T: Array.from({ length: tokens }, (_, i) => (i * 7919 + 13) % shape.vocab) };
  const plan = planForward(forward, (key) => headers.get(key), { ...input, has: (key) => headers.has(key) });
  const weightBytes = plan.steps.reduce((sum, step) => sum + step.weightBytes, 0);
  const { backend } = await openBackend(choice, { flops: plan.flops, mayMeasure: false });
  const side = {
    forward,
    plan,
    weight: (key) => ({ ...headers.get(key), read }),
    has: (key) => headers.has(key),
  };
  const times = [];
  for (let round = 0; round <= rounds; round++) {
    const begin = performance.now();
    await runForwards(backend, [side], input, { logits() {} });
    if (round > 0) times.push((performance.now() - begin) / 1e3); // the first compiles
  }
  const seconds = median(times);
  const rate = plan.flops / seconds / 1e12;
  const peak = Number(process.env.CONVERT_CHECKPOINT_PEAK_TFLOPS);
  const name = [backend.name, backend.adapter, backend.library].filter(Boolean).join(", ");
  console.log(
    `  ${name}: ${layers} ${layers === 1 ? "layer" : "layers"} in ${seconds.toFixed(2)} s, ${((1e3 * seconds) / layers).toFixed(0)} ms a layer, ${rate.toFixed(3)} TFLOP/s${peak > 0 ? ` (${((100 * rate) / peak).toFixed(1)} % of ${peak})` : ""}, weights at ${(weightBytes / seconds / 1e9).toFixed(2)} GB/s, ${(backend.peakBytes / 1e6).toFixed(0)} MB on the backend`,
  );
  await backend.close();
}

export async function run() {
  const wanted = Number(process.env.CONVERT_CHECKPOINT_LAYERS);
  console.log(`Llama 3.1 8B's layers, ${tokens} tokens`);
  await bench("wasm", wanted || 1);
  try {
    const { isFallback } = await describeAdapter();
    await bench("webgpu", wanted || (isFallback ? 1 : 32));
  } catch (error) {
    console.log(`  webgpu: ${error.message}`);
  }
}

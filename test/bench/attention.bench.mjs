// Causal attention of 512 tokens, 16 query heads and 8 key heads, on every backend, interleaved in one run: GF per CPU
// second of the whole process, counting the products that a causal mask needs. `cpu` is plain loops in f64.
// Target on lavapipe and in WASM: at least 8× cpu.
import { CpuBackend } from "../../dist/numerics/cpu/backend.js";
import { WasmBackend } from "../../dist/numerics/wasm/backend.js";
import { createWebGpuBackend } from "../../dist/numerics/webgpu/backend.js";
import { median } from "./measure.mjs";

const rounds = 5;
const [tokens, heads, keyHeads] = [512, 16, 8];

function random(key, shape, seed) {
  let state = seed;
  const count = shape.reduce((a, b) => a * b, 1);
  const values = Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return 2 * (state / 2 ** 31 - 1);
  });
  const bytes = new Uint8Array(values.buffer);
  return {
    key,
    dtype: "F32",
    shape,
    read: (begin, target) => target.set(bytes.subarray(begin, begin + target.length)),
  };
}

async function subjectOf(backend, weights, scale) {
  const nodes = weights.map((weight) => backend.ops.affine(backend.weight(weight), 1, 0));
  await backend.evaluate(nodes);
  let out;
  const run = async () => {
    out = backend.ops.attention(...nodes, { scale, mask: { kind: "causal" } });
    await backend.evaluate([...nodes, out]);
  };
  await run();
  return { name: backend.name, run, values: () => backend.readback(out), cpu: [], wall: [] };
}

function relativeRms(y, want) {
  let [difference, size] = [0, 0];
  for (const [i, value] of want.entries()) {
    difference += (y[i] - value) ** 2;
    size += value ** 2;
  }
  return Math.sqrt(difference / size);
}

async function bench(backends, depth) {
  const weights = [
    random("q", [tokens, heads, depth], 1),
    random("k", [tokens, keyHeads, depth], 2),
    random("v", [tokens, keyHeads, depth], 3),
  ];
  const subjects = [];
  for (const backend of backends) subjects.push(await subjectOf(backend, weights, 1 / Math.sqrt(depth)));
  for (let round = 0; round < rounds; round++) {
    for (const { run, cpu, wall } of subjects) {
      const before = process.cpuUsage();
      const begin = performance.now();
      await run();
      wall.push(performance.now() - begin);
      const used = process.cpuUsage(before);
      cpu.push((used.user + used.system) / 1e3);
    }
  }
  const [base] = subjects;
  const want = await base.values();
  const gigaflops = (ms) => ((2 * tokens ** 2 * depth * heads) / ms / 1e6).toFixed(1).padStart(8);
  console.log(`${depth} channels a head`);
  for (const { name, cpu, wall, values } of subjects) {
    const ratio = median(base.cpu.map((ms, i) => ms / cpu[i]));
    const rms = relativeRms(await values(), want).toExponential(1);
    console.log(
      `  ${name.padEnd(18)}${gigaflops(median(cpu))} GF/cpu-s ${ratio.toFixed(1).padStart(6)}× cpu  ${gigaflops(Math.min(...wall))} GF/s wall  rms ${rms}`,
    );
  }
}

async function openWebGpu() {
  try {
    return [await createWebGpuBackend()];
  } catch (error) {
    console.log(`webgpu: ${error.message}`);
    return [];
  }
}

export async function run() {
  const backends = [new CpuBackend(), new WasmBackend(), ...(await openWebGpu())];
  for (const depth of [64, 128]) await bench(backends, depth);
  for (const backend of backends) await backend.close();
}

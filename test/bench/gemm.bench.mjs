// Matrix products of the WebGPU backend against a naive kernel, interleaved in one run. GF per CPU second of the whole
// process, so that on a software adapter other load on the machine matters little; on a real GPU read the wall figures.
// Target on lavapipe: at least 12× naive, and at most 2e-6 relative rms from f64.

import { gemmFor } from "../../dist/numerics/webgpu/choice.js";
import { Device, usage } from "../../dist/numerics/webgpu/device.js";
import { Pipelines } from "../../dist/numerics/webgpu/kernel.js";
import { gemmParams } from "../../dist/numerics/webgpu/kernels/gemm.js";
import { Memory } from "../../dist/numerics/webgpu/memory.js";
import { Queue } from "../../dist/numerics/webgpu/queue.js";
import { median } from "./measure.mjs";

const rounds = 5;

/** One invocation an output, scalar loads. */
const naive = {
  key: "gemm-naive",
  reads: { X: "f32", W: "f32" },
  writes: "f32",
  params: gemmParams,
  size: 64,
  tile: [8, 8],
  body: () => `
let m = group.y * 8u + lane / 8u;
let n = group.x * 8u + lane % 8u;
if (m >= p.rows || n >= p.columns) { return; }
var sum = 0.0f;
for (var k = 0u; k < p.depth; k++) { sum += X[m * p.depth + k] * W[n * p.depth + k]; }
Y[m * p.stride + n] = sum;`,
};

/** Values of magnitude `scale`, exact in bf16, so that every kernel multiplies the same numbers. */
function values(count, seed, scale) {
  let state = seed;
  const bits = Uint32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const x = new Float32Array([(state / 2 ** 31 - 1) * scale]);
    return new Uint32Array(x.buffer)[0] & 0xffff0000;
  });
  return new Float32Array(bits.buffer);
}

const asBf16 = (x) => Uint16Array.from(new Uint32Array(x.buffer), (bits) => bits >>> 16);

/** Against f64, on a sample of outputs. */
function relativeRms(y, x, w, [M, N, K]) {
  let [difference, size] = [0, 0];
  for (let i = 0; i < 500; i++) {
    const [m, n] = [(i * 7919) % M, (i * 104729) % N];
    let want = 0;
    for (let k = 0; k < K; k++) want += x[m * K + k] * w[n * K + k];
    difference += (y[m * N + n] - want) ** 2;
    size += want ** 2;
  }
  return Math.sqrt(difference / size);
}

async function bench(device, sizes) {
  const [M, N, K] = sizes;
  const memory = new Memory(device);
  const pipelines = new Pipelines(device);
  const queue = new Queue(device, memory, pipelines);
  const send = (data) => {
    const buffer = memory.create(data.byteLength, usage.storage | usage.copyDst);
    device.gpu.queue.writeBuffer(buffer, 0, data);
    return { buffer, offset: 0, size: data.byteLength };
  };
  const [x, w] = [values(M * K, 1, 1), values(N * K, 2, 0.03)];
  const X = send(x);
  const [F32, BF16] = [send(w), send(asBf16(w))];
  const size = 4 * M * N;
  const Y = { buffer: memory.create(size, usage.storage | usage.copySrc), offset: 0, size };
  const out = memory.create(size, usage.mapRead | usage.copyDst);

  const traits = {
    family: device.kernels,
    subgroupSize: device.subgroupSize,
    workgroupMemoryBytes: device.gpu.limits.maxComputeWorkgroupStorageSize,
  };
  const extent = { rows: M, inputs: K, outputs: N, summation: "usual" };
  const subjects = [
    { name: "naive f32", kernel: naive, W: F32 },
    { name: `${device.kernels} f32`, kernel: gemmFor(traits, extent, "f32", false), W: F32 },
    { name: `${device.kernels} bf16`, kernel: gemmFor(traits, extent, "bf16", false), W: BF16 },
  ];
  await pipelines.prepare(subjects.map(({ kernel }) => kernel));
  const params = { rows: M, columns: N, depth: K, stride: N, column: 0, bias: 0 };
  const run = async ({ kernel, W }, times) => {
    const groups = [Math.ceil(N / kernel.tile[1]), Math.ceil(M / kernel.tile[0])];
    for (let i = 0; i < times; i++) queue.dispatch(kernel, [X, W, Y], params, groups);
    await queue.finish();
  };

  for (const subject of subjects) {
    await run(subject, 1); // the driver compiles at the first dispatch
    const encoder = device.gpu.createCommandEncoder();
    encoder.copyBufferToBuffer(Y.buffer, 0, out, 0, size);
    device.gpu.queue.submit([encoder.finish()]);
    await out.mapAsync(1);
    subject.error = relativeRms(new Float32Array(out.getMappedRange()), x, w, sizes);
    out.unmap();
    subject.cpu = [];
    subject.wall = [];
  }
  for (let round = 0; round < rounds; round++) {
    for (const subject of subjects) {
      const times = subject.kernel === naive ? 1 : 4;
      const cpu = process.cpuUsage();
      const begin = performance.now();
      await run(subject, times);
      subject.wall.push((performance.now() - begin) / times);
      const used = process.cpuUsage(cpu);
      subject.cpu.push((used.user + used.system) / 1e3 / times);
    }
  }
  const [base] = subjects;
  const gigaflops = (ms) => ((2 * M * N * K) / ms / 1e6).toFixed(1).padStart(8);
  console.log(`${M} × ${K} · ${K} × ${N}`);
  for (const { name, cpu, wall, error } of subjects) {
    const ratio = median(base.cpu.map((ms, i) => ms / cpu[i]));
    const rms = error.toExponential(1);
    console.log(
      `  ${name.padEnd(16)}${gigaflops(median(cpu))} GF/cpu-s ${ratio.toFixed(1).padStart(6)}× naive  ${gigaflops(Math.min(...wall))} GF/s wall  rms ${rms}`,
    );
  }
  for (const { buffer } of [X, F32, BF16, Y]) memory.destroy(buffer);
  memory.destroy(out);
  device.gpu.queue.submit([]);
}

export async function run() {
  const device = await Device.open();
  console.log(`${device.name}, ${device.kernels} kernels`);
  for (const sizes of [
    [512, 1024, 1024],
    [64, 4096, 1024],
    [512, 1024, 4096],
  ]) {
    await bench(device, sizes);
  }
  device.close();
}

// Matrix products of the WebGPU and WASM backends, and of a native library behind the latter, against a naive kernel of WebGPU (a loop in JavaScript where there is no
// adapter), interleaved in one run. GF per CPU second of the whole process, so that on a software adapter other load on
// the machine matters little; on a real GPU read the wall figures.
// Target on lavapipe and in WASM: at least 12× naive, and at most 2e-6 relative rms from f64.

import { WasmBackend } from "../../dist/numerics/wasm/backend.js";
import { findOnnx } from "../../dist/numerics/wasm/onnx.js";
import { gemmFor } from "../../dist/numerics/webgpu/choice.js";
import { Device, usage } from "../../dist/numerics/webgpu/device/device.js";
import { Memory } from "../../dist/numerics/webgpu/device/memory.js";
import { Pipelines } from "../../dist/numerics/webgpu/kernel.js";
import { gemmParams } from "../../dist/numerics/webgpu/kernels/gemm.js";
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

/** Kernels of a device: a naive one, and those that the backend takes. */
async function webgpuSubjects(device, { x, w }, [M, N, K]) {
  const memory = new Memory(device);
  const pipelines = new Pipelines(device);
  const queue = new Queue(device, memory, pipelines);
  const send = (data) => {
    const buffer = memory.create(data.byteLength, usage.storage | usage.copyDst);
    device.gpu.queue.writeBuffer(buffer, 0, data);
    return { buffer, offset: 0, size: data.byteLength };
  };
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
  const kernels = [
    { name: "naive webgpu f32", kernel: naive, W: F32, times: 1 },
    { name: `${device.kernels} f32`, kernel: gemmFor(traits, extent, "f32", false), W: F32, times: 4 },
    { name: `${device.kernels} bf16`, kernel: gemmFor(traits, extent, "bf16", false), W: BF16, times: 4 },
  ];
  await pipelines.prepare(kernels.map(({ kernel }) => kernel));
  const params = { rows: M, columns: N, depth: K, stride: N, column: 0, bias: 0 };
  const result = async () => {
    const encoder = device.gpu.createCommandEncoder();
    encoder.copyBufferToBuffer(Y.buffer, 0, out, 0, size);
    device.gpu.queue.submit([encoder.finish()]);
    await out.mapAsync(1);
    const y = new Float32Array(out.getMappedRange().slice(0));
    out.unmap();
    return y;
  };
  const close = () => {
    for (const { buffer } of [X, F32, BF16, Y]) memory.destroy(buffer);
    memory.destroy(out);
    device.gpu.queue.submit([]);
  };
  const subjects = kernels.map(({ name, kernel, W, times }) => ({
    name,
    times,
    async run(times) {
      const groups = [Math.ceil(N / kernel.tile[1]), Math.ceil(M / kernel.tile[0])];
      for (let i = 0; i < times; i++) queue.dispatch(kernel, [X, W, Y], params, groups);
      await queue.finish();
    },
    result,
  }));
  return { subjects, close };
}

/** The op as graphs call it: the weight is read from memory as from a checkpoint. */
async function wasmSubjects(backend, { x, w }, [M, N, K]) {
  const inMemory = (data, dtype, shape) => {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const read = (begin, target) => target.set(bytes.subarray(begin, begin + target.length));
    return { key: "w", dtype, shape, read };
  };
  const X = backend.ops.affine(backend.weight(inMemory(x, "F32", [M, K])), 1, 0);
  await backend.evaluate([X]);
  const weights = [
    ["f32", inMemory(w, "F32", [N, K])],
    ["bf16", inMemory(asBf16(w), "BF16", [N, K])],
  ];
  const subjects = weights.map(([name, weight]) => {
    const once = async () => {
      const y = backend.ops.linear(X, backend.weight(weight));
      await backend.evaluate([X, y]);
      const values = backend.values(y);
      backend.free(y);
      return values;
    };
    const run = async (times) => {
      for (let i = 0; i < times; i++) await once();
    };
    return { name: `${backend.library ?? "wasm"} ${name}`, times: 4, run, result: once };
  });
  return { subjects, close: () => backend.free(X) };
}

/** One thread, one sum in f64 an output. */
function scriptSubject({ x, w }, [M, N, K]) {
  const y = new Float32Array(M * N);
  const run = async (times) => {
    for (let round = 0; round < times; round++)
      for (let m = 0; m < M; m++)
        for (let n = 0; n < N; n++) {
          let sum = 0;
          for (let k = 0; k < K; k++) sum += x[m * K + k] * w[n * K + k];
          y[m * N + n] = sum;
        }
  };
  return { name: "naive JavaScript", times: 1, run, result: async () => y };
}

async function bench({ device, backends }, sizes) {
  const [M, N, K] = sizes;
  const operands = { x: values(M * K, 1, 1), w: values(N * K, 2, 0.03) };
  const groups = [
    device ? await webgpuSubjects(device, operands, sizes) : { subjects: [scriptSubject(operands, sizes)] },
    ...(await Promise.all(backends.map((backend) => wasmSubjects(backend, operands, sizes)))),
  ];
  const subjects = groups.flatMap(({ subjects }) => subjects);
  for (const subject of subjects) {
    await subject.run(1); // compiles
    subject.error = relativeRms(await subject.result(), operands.x, operands.w, sizes);
    Object.assign(subject, { cpu: [], wall: [] });
  }
  for (let round = 0; round < rounds; round++) {
    for (const { run, times, cpu, wall } of subjects) {
      const before = process.cpuUsage();
      const begin = performance.now();
      await run(times);
      wall.push((performance.now() - begin) / times);
      const used = process.cpuUsage(before);
      cpu.push((used.user + used.system) / 1e3 / times);
    }
  }
  const [base] = subjects;
  const gigaflops = (ms) => ((2 * M * N * K) / ms / 1e6).toFixed(1).padStart(8);
  console.log(`${M} × ${K} · ${K} × ${N}`);
  for (const { name, cpu, wall, error } of subjects) {
    const ratio = median(base.cpu.map((ms, i) => ms / cpu[i]));
    const rms = error.toExponential(1);
    console.log(
      `  ${name.padEnd(26)}${gigaflops(median(cpu))} GF/cpu-s ${ratio.toFixed(1).padStart(6)}× naive  ${gigaflops(Math.min(...wall))} GF/s wall  rms ${rms}`,
    );
  }
  for (const { close } of groups) close?.();
}

async function openDevice() {
  try {
    return await Device.open();
  } catch (error) {
    console.log(`webgpu: ${error.message}`);
    return null;
  }
}

export async function run() {
  const device = await openDevice();
  if (device) console.log(`${device.name}, ${device.kernels} kernels`);
  const found = findOnnx();
  if (found.library === null) console.log(found.reason);
  const backends = [new WasmBackend(), ...(found.library ? [new WasmBackend(found)] : [])];
  for (const sizes of [
    [512, 1024, 1024],
    [64, 4096, 1024],
    [512, 1024, 4096],
  ]) {
    await bench({ device, backends }, sizes);
  }
  for (const backend of backends) await backend.close();
  device?.close();
}

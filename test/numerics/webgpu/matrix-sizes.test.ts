// Products on matrix units of other sizes than a software adapter has, and without any: each invocation computes its share
// of a matrix by plain loops in the place of the unit's instructions. All else is as in production.
import { afterEach, expect, it, vi } from "vitest";
import { createWebGpuBackend, type WebGpuBackend, type WebGpuOptions } from "../../../numerics/webgpu/backend.ts";
import type { MatrixShape } from "../../../numerics/webgpu/device/description.ts";
import { checkProducts } from "../../../numerics/webgpu/device/matrices.ts";
import type { GemmKernel } from "../../../numerics/webgpu/kernels/gemm.ts";
import { describeOtherWidths } from "../../helpers/gpu.ts";
import { errorOf, values, weight } from "../harness.ts";

/**
 * The kernel's WGSL with functions for the builtins of subgroup matrices. A factor is where it lies; a sum is the elements
 * that an invocation owns. Loops end by numbers known at run time only, as lavapipe would unroll them all.
 */
function emulated(kernel: GemmKernel, { M, N, K }: MatrixShape): GemmKernel {
  const own = `array<f32, ${(M * N) / kernel.size}>`;
  const half = (from: string, at: string) => `unpack2x16float(${from}[(${at}) / 2u])[(${at}) % 2u]`;
  const functions = `
struct Factor { at: u32, stride: u32 }
var<private> me: u32;
fn multiply(x: Factor, w: Factor, sum: ${own}) -> ${own} { var y = sum;
for (var e = 0u; e < ${(M * N) / kernel.size}u * min(1u, p.rows); e++) {
let m = (me + e * ${kernel.size}u) / ${N}u; let n = (me + e * ${kernel.size}u) % ${N}u;
for (var k = 0u; k < ${K}u * min(1u, p.rows); k++) {
y[e] += ${half("X", "x.at + m * x.stride + k")} * ${half("W", "w.at + n * w.stride + k")}; } } return y; }
fn put(to: u32, x: ${own}, stride: u32) { var y = x;
for (var e = 0u; e < ${(M * N) / kernel.size}u * min(1u, p.rows); e++) { let i = me + e * ${kernel.size}u;
sums[to + i / ${N}u * stride + i % ${N}u] = y[e]; } }`;
  const body = kernel
    .body()
    .replaceAll(`subgroupMatrixLoad<subgroup_matrix_left<f16, ${K}, ${M}>, row_major>(&X, `, "Factor(")
    .replaceAll(`subgroupMatrixLoad<subgroup_matrix_right<f16, ${N}, ${K}>, col_major>(&W, `, "Factor(")
    .replaceAll(`subgroup_matrix_result<f32, ${N}, ${M}>`, own)
    .replaceAll("subgroupMatrixMultiplyAccumulate(", "multiply(")
    .replaceAll("subgroupMatrixStore<row_major>(&sums, ", "put(");
  expect(body).not.toContain("ubgroup");
  const reads = { ...kernel.reads, X: "u32", W: "u32" };
  const declarations = kernel.declarations + functions;
  return { ...kernel, reads, usesMatrices: false, declarations, body: () => `me = lane;\n${body}` };
}

vi.mock("../../../numerics/webgpu/kernels/gemm-matrix.ts", async (original) => {
  const real = await original<typeof import("../../../numerics/webgpu/kernels/gemm-matrix.ts")>();
  type Options = Parameters<typeof real.matrixGemm>[0];
  return {
    ...real,
    matrixGemm: (options: Options) => emulated(real.matrixGemm({ ...options, matrices: [1, 2] }), options.shape),
  };
});

describeOtherWidths("matrix units of all sizes", () => {
  let backend: WebGpuBackend | undefined;
  afterEach(() => backend?.close());

  it.each([
    [{ M: 16, N: 16, K: 16 }, 32],
    [{ M: 8, N: 16, K: 16 }, 32],
    [{ M: 16, N: 8, K: 32 }, 32],
  ])("%o in subgroups of %i", async (matrix, subgroupSize) => {
    const open = async (options: WebGpuOptions) => {
      await backend?.close();
      backend = await createWebGpuBackend({ ...options, traits: { matrix, subgroupSize } }, async () => ({
        unused: "emulated",
      }));
      return backend;
    };
    const b = await open({});
    expect(await checkProducts(b)).toBeUndefined();
    for (const dtype of ["F32", "BF16"] as const) {
      const [x, w, bias] = [weight([67, 300], 1), weight([131, 300], 2, dtype), weight([131], 3)];
      expect(await errorOf(b, (op, put) => op.linear(put(x), put(w), put(bias)))).toBeLessThan(5e-7);
    }
    const [x, w] = [weight([131, 44], 5), weight([263, 44], 6, "BF16")];
    const product = async (options: WebGpuOptions) =>
      values(await open(options), (op, put) => op.linear(put(x), put(w)));
    const whole = await product({});
    expect(await product({ windowBytes: 10_000, bindingBytes: 140_000 })).toEqual(whole);
  });
});

import { expect, it } from "vitest";
import { globals } from "webgpu";
import { createWebGpuBackend, WebGpuBackend } from "../../../numerics/webgpu/backend.ts";
import { describeAdapter, listAdapters } from "../../../numerics/webgpu/device/adapter.ts";
import { Device } from "../../../numerics/webgpu/device/device.ts";
import { Pipelines } from "../../../numerics/webgpu/kernel.ts";
import { InputError } from "../../../src/base/errors.ts";
import { describeGpu } from "../../helpers/gpu.ts";
import { values, weight } from "../harness.ts";

describeGpu("evaluation", () => {
  it("keeps what it is asked to keep, frees the rest, and refuses freed nodes", async () => {
    const backend = await createWebGpuBackend();
    const { ops } = backend;
    const x = backend.weight(weight([40], 1));
    const a = ops.add(x, x);
    const b = ops.mul(a, x);
    const view = ops.reshape(b, [5, 8]);
    await expect(backend.readback(a)).rejects.toThrow("not evaluated");
    await backend.evaluate([view]);
    expect(() => ops.map("silu", a)).toThrow("freed");
    await expect(backend.readback(a)).rejects.toThrow("freed");
    const c = ops.map("silu", view);
    await backend.evaluate([c]);
    expect(() => ops.add(b, b)).toThrow("freed");
    expect(await backend.readback(c, 3, 7)).toEqual((await backend.readback(c)).slice(3, 7));
    expect((await backend.readback(x, 38)).length).toBe(2);
    await backend.close();
    await expect(backend.readback(c)).rejects.toThrow("closed");
  });

  it("reuses memory: a long chain holds no more than a short one, and a wide weight no more than its windows", async () => {
    const peak = async (length: number) => {
      const backend = await createWebGpuBackend();
      let x = backend.ops.map("silu", backend.weight(weight([50_000], 1)));
      for (let i = 0; i < length; i++) x = backend.ops.add(x, x);
      await backend.evaluate([x]);
      await backend.close();
      return backend.peakBytes;
    };
    expect(await peak(50)).toBe(await peak(3));

    const windowBytes = 1 << 20;
    const backend = await createWebGpuBackend({ windowBytes });
    const w = weight([32_000, 64], 2); // 8 MB
    const y = await values(backend, (op, put) => op.linear(put(weight([2, 64], 3)), put(w)));
    expect(y.length).toBe(64_000);
    // Two arenas, what waits to be copied into them, the piece that the host prepares; then activations and numbers.
    expect(backend.peakBytes).toBeLessThan(5 * windowBytes + 2e6);
    expect(backend.peakBytes).toBeGreaterThan(2 * windowBytes);
    await backend.close();
  });

  it("computes the same bits twice", async () => {
    const run = async () => {
      const backend = await createWebGpuBackend({ windowBytes: 8192 });
      const [x, w, gain] = [weight([30, 96], 1), weight([96, 96], 2, "BF16"), weight([96], 3)];
      const found = await values(backend, (op, put) => {
        const q = op.reshape(op.linear(op.rmsNorm(put(x), put(gain), 1e-6), put(w)), [30, 4, 24]);
        return op.attention(q, q, q, { scale: 0.2, mask: { kind: "causal" } });
      });
      await backend.close();
      return found;
    };
    expect(await run()).toEqual(await run());
  });

  it("one call at a time", async () => {
    const backend = await createWebGpuBackend();
    const y = backend.ops.map("silu", backend.weight(weight([4], 1)));
    const first = backend.evaluate([y]);
    await expect(backend.evaluate([])).rejects.toThrow("still at work");
    await first;
    await backend.close();
  });
});

describeGpu("adapters", () => {
  it("are listed, and the one in use is described", async () => {
    const adapters = await listAdapters();
    expect(adapters.length).toBeGreaterThan(0);
    for (const { api, name } of adapters) expect([api, name]).not.toContain("");
    const described = await describeAdapter();
    const backend = await createWebGpuBackend();
    expect(backend.adapter).toContain(described.name);
    expect(described.limits.maxBufferSize).toBeGreaterThanOrEqual(described.limits.maxStorageBufferBindingSize);
    await backend.close();
  });
});

describeGpu("failures reach the caller", () => {
  it("a command that WebGPU refuses", async () => {
    const device = await Device.open();
    const backend = new WebGpuBackend(device, {});
    const y = backend.ops.map("silu", backend.weight(weight([4], 1)));
    device.gpu.createBuffer({ size: 16, usage: 0 });
    await expect(backend.evaluate([y])).rejects.toThrow(/usages must not be 0/);
    await expect(backend.evaluate([])).rejects.toThrow(/usages must not be 0/);
    await backend.close();
  });

  it("a shader that does not compile, in the compiler's words", async () => {
    const device = await Device.open();
    const broken = { key: "broken", reads: { X: "f32" }, writes: "f32", params: {}, size: 1, body: () => "Y[0] = X;" };
    await expect(new Pipelines(device).prepare([broken])).rejects.toThrow(/broken|cannot assign/);
    device.close();
  });

  it("a lost device", async () => {
    const device = await Device.open();
    const backend = new WebGpuBackend(device, {});
    const y = backend.ops.map("silu", backend.weight(weight([4], 1)));
    device.gpu.destroy();
    await expect(backend.evaluate([y])).rejects.toMatchObject({ code: "GPU_LOST", exitCode: 4 });
  });

  it("memory that is not there", async () => {
    const device = await Device.open();
    const backend = new WebGpuBackend(device, {});
    // lavapipe hands out terabytes, so Dawn's own event is sent by hand.
    const [Event, OutOfMemory] = ["GPUUncapturedErrorEvent", "GPUOutOfMemoryError"].map((name) =>
      Reflect.get(globals, name),
    );
    device.gpu.dispatchEvent(new Event("uncapturederror", { error: new OutOfMemory("none left") }));
    await expect(backend.evaluate([])).rejects.toMatchObject({ code: "GPU_OUT_OF_MEMORY", exitCode: 4 });
    await backend.close();
  });

  it("a weight that cannot be read stops the evaluation, and the backend stays stopped", async () => {
    const backend = await createWebGpuBackend();
    const missing = new InputError("FILE_TRUNCATED", "the file ends early", { help: "copy it again" });
    const w = {
      ...weight([4, 4], 1),
      read: () => {
        throw missing;
      },
    };
    const y = backend.ops.linear(backend.weight(weight([2, 4], 1)), backend.weight(w));
    await expect(backend.evaluate([y])).rejects.toBe(missing);
    await expect(backend.evaluate([])).rejects.toBe(missing);
    await backend.close();
  });
});

import { promisify } from "node:util";
import { expect, it } from "vitest";
import { createWebGpuBackend } from "../../../numerics/webgpu/backend.ts";
import { awaitGpu } from "../../../numerics/webgpu/device/polling.ts";
import { describeGpu } from "../../helpers/gpu.ts";
import { values, weight } from "../harness.ts";

it("setImmediate is wrapped only while the GPU is awaited, and serves everyone else as before", async () => {
  const original = globalThis.setImmediate;
  let resolve: (value: number) => void = () => {};
  const promise = new Promise<number>((done) => {
    resolve = done;
  });
  const waiting = [awaitGpu(promise), awaitGpu(promise)];
  expect(globalThis.setImmediate).not.toBe(original);
  const order: string[] = [];
  setTimeout(() => order.push("timer"), 30);
  await new Promise<void>((done) => setImmediate(done));
  await new Promise<void>((done) => setImmediate((value: string) => done(void order.push(value)), "immediate"));
  expect(await promisify(setImmediate)(3)).toBe(3);
  clearImmediate(setImmediate(() => order.push("cleared")));
  expect(order).toEqual(["immediate"]);
  resolve(7);
  expect(await Promise.all(waiting)).toEqual([7, 7]);
  expect(globalThis.setImmediate).toBe(original);
  await expect(awaitGpu(Promise.reject(new Error("no")))).rejects.toThrow("no");
  expect(globalThis.setImmediate).toBe(original);
});

describeGpu("polling", () => {
  it("is slowed down while the GPU works", async () => {
    const backend = await createWebGpuBackend();
    const original = globalThis.setImmediate;
    let polls = 0;
    globalThis.setImmediate = new Proxy(original, {
      apply: (target, thisArg, args) => {
        polls++;
        return Reflect.apply(target, thisArg, args);
      },
    });
    const begin = performance.now();
    await values(backend, (op, put) => op.linear(put(weight([256, 512], 1)), put(weight([512, 512], 2))));
    const elapsedMs = performance.now() - begin;
    globalThis.setImmediate = original;
    await backend.close();
    // Only the first poll of each awaited promise comes before the wrapper.
    expect(polls).toBeLessThan(100 + elapsedMs);
  });
});

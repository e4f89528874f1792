import { Worker } from "node:worker_threads";
import { expect, it, vi } from "vitest";
import type { PointwiseJob } from "../../../numerics/wasm/jobs.ts";
import { Threads } from "../../../numerics/wasm/threads.ts";

const shared = (...values: number[]) => {
  const floats = new Float32Array(new SharedArrayBuffer(4 * values.length));
  floats.set(values);
  return floats;
};

/** a + a, in a thread of its own. */
const doubling = (a: Float32Array, out: Float32Array, i: number): PointwiseJob => {
  const operands = { a, b: a, out, begin: 0, end: a.length, scratch: 65536 * i };
  return { kind: "pointwise", f: "add", ...operands };
};

const WORTH_A_THREAD = 1e9;

it("a thread is listened to once, not for each job", async () => {
  const threads = new Threads(2);
  threads.reserve(2 * 65536);
  const on = vi.spyOn(Worker.prototype, "on");
  const outs = [shared(0, 0, 0, 0), shared(0, 0, 0, 0)];
  let listeners = 0;
  for (let round = 1; round <= 20; round++) {
    await threads.run(
      outs.map((out, i) => doubling(shared(round, 2, 3, 4), out, i)),
      WORTH_A_THREAD,
    );
    for (const out of outs) expect([...out]).toEqual([2 * round, 4, 6, 8]);
    if (round === 1) listeners = on.mock.calls.length;
  }
  expect(listeners).toBeGreaterThan(0);
  expect(on.mock.calls.length).toBe(listeners);
  on.mockRestore();
  await threads.close();
});

it("a job that fails leaves its thread at work", async () => {
  const threads = new Threads(2);
  threads.reserve(2 * 65536);
  const [a, out] = [shared(1, 2, 3, 4), shared(0, 0, 0, 0)];
  const broken = { ...doubling(a, out, 1), scratch: 2 ** 31 };
  await expect(threads.run([doubling(a, out, 0), broken], WORTH_A_THREAD)).rejects.toThrow();
  await threads.run([doubling(a, out, 0), doubling(a, out, 1)], WORTH_A_THREAD);
  expect([...out]).toEqual([2, 4, 6, 8]);
  await threads.close();
});

// A file of its own: the Vulkan loader must find no driver from the start of the process.
import { expect, test } from "vitest";
import { hideGpus } from "../helpers/no-gpu.ts";

test("without a GPU, auto computes in WebAssembly and says so; webgpu refuses", async () => {
  hideGpus();
  const { runParity } = await import("../../src/parity/parity.ts");
  const { fixtureCase, hfSide } = await import("../helpers/models.ts");
  const options = { a: hfSide("qwen3/split"), golden: fixtureCase("qwen3/split").golden };
  await expect(runParity({ ...options, backend: "webgpu" })).rejects.toMatchObject({ exitCode: 4 });
  const { verdict, backend } = await runParity(options);
  expect(verdict).toBe("pass");
  expect(backend).toMatchObject({ name: "wasm", adapter: null, fallbackFrom: "webgpu" });
  expect(backend.fallbackReason).toBeTruthy();
});

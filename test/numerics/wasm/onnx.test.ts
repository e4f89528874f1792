import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WasmBackend } from "../../../numerics/wasm/backend.ts";
import { findOnnx, type OnnxRuntime } from "../../../numerics/wasm/onnx.ts";
import { bytesAsWeight } from "../../helpers/tensors.ts";
import { floats } from "../chains.ts";
import { broken, errorOf, normal, values, watched, weight } from "../harness.ts";

/** Rows, inputs, outputs; odd ones, and more rows and columns than are at work at a time. All are worth a library's while. */
const SIZES = [
  [131, 263, 149],
  [67, 1031, 77],
  [1, 2053, 2053],
  [520, 260, 1027],
  [1100, 8195, 9],
] as const;

const found = findOnnx();
const library = (): OnnxRuntime => {
  if (found.library === null) throw new Error(found.reason);
  return found.library;
};

/** The package has no binary for Macs with Intel processors. */
const hasBinary = !(process.platform === "darwin" && process.arch === "x64");

const suite = () => {
  describe.each([1, 2, 3])("in %i threads", (threads) => {
    const backend = new WasmBackend({ threads, library: library() });
    afterAll(() => backend.close());

    it.each(SIZES)("%i rows, %i inputs, %i outputs, with outliers", async (rows, inputs, outputs) => {
      const [x, b] = [weight([rows, inputs], 1), weight([outputs], 3)];
      for (const dtype of ["F32", "BF16"] as const) {
        const w = weight([outputs, inputs], 2, dtype);
        expect(await errorOf(backend, (op, put) => op.linear(put(x), put(w), put(b))), dtype).toBeLessThan(1e-6);
      }
    });
  });

  it("f16 weights, and weights and biases that were computed", async () => {
    const backend = new WasmBackend({ threads: 2, library: library() });
    const [x, w, b] = [weight([140, 301], 1), weight([131, 301], 2), weight([131], 3)];
    const bits = Uint16Array.from({ length: 131 * 301 }, (_, i) => [0x3c00, 0x0001, 0x83ff, 0x4bff, 0xc123, 0][i % 6]!);
    const half = bytesAsWeight(bits, [131, 301], "F16");
    expect(await errorOf(backend, (op, put) => op.linear(put(x), put(half)))).toBeLessThan(1e-6);
    const computed = errorOf(backend, (op, put) => op.linear(put(x), op.affine(put(w), 2), op.affine(put(b), 3)));
    expect(await computed).toBeLessThan(1e-6);
    await backend.close();
  });

  it("has other bits than our kernels, which make small products and the noise floor's", async () => {
    const [ours, theirs] = [new WasmBackend(), new WasmBackend({ library: library() })];
    const [x, w] = [weight([200, 700], 1), weight([90, 700], 2)];
    const few = weight([3, 700], 1);
    for (const [given, summation, same] of [
      [x, "usual", false],
      [x, "short", true],
      [few, "usual", true],
    ] as const) {
      const [a, b] = await Promise.all(
        [ours, theirs].map((backend) =>
          values(backend, (op, put) => op.linear(put(given), put(w), undefined, summation)),
        ),
      );
      expect(Buffer.from(a!.buffer).equals(Buffer.from(b!.buffer))).toBe(same);
    }
    await ours.close();
    await theirs.close();
  });

  it("a NaN stays in its row of the weight and its row of x", async () => {
    const backend = new WasmBackend({ threads: 2, library: library() });
    const [x, w] = [floats(weight([150, 211], 1)), floats(weight([140, 211], 2))];
    x[2 * 211 + 210] = Number.NaN;
    w[11 * 211] = Number.NaN;
    const y = await values(backend, (op, put) =>
      op.linear(put(bytesAsWeight(x, [150, 211], "F32")), put(bytesAsWeight(w, [140, 211], "F32"))),
    );
    for (const [i, value] of y.entries()) {
      if (Number.isNaN(value) !== (Math.floor(i / 140) === 2 || i % 140 === 11)) throw new Error(`index ${i}`);
    }
    await backend.close();
  });

  it("a weight is read in windows, each row once, and a fault while reading reaches the caller", async () => {
    const backend = new WasmBackend({ threads: 2, library: library() });
    const [x, w] = [weight([3, 2048], 1), weight([3000, 2048], 2, "BF16")];
    const { source, reads } = watched(w);
    expect(await errorOf(backend, (op, put) => op.linear(put(x), put(w)))).toBeLessThan(1e-6);
    await values(backend, (op, put) => op.linear(put(x), put(source)));
    let next = 0;
    for (const [begin, length] of reads) {
      expect(begin).toBe(next);
      next += length;
      expect(length).toBeLessThanOrEqual(4 << 20);
    }
    expect(next).toBe(2 * 3000 * 2048);
    await expect(values(backend, (op, put) => op.linear(put(x), put(broken(w))))).rejects.toThrow("the disk is gone");
    await backend.close();
  });

  it("a fault in the library reaches the caller, and no thread is ended within a call", async () => {
    const [x, w] = [weight([200, 700], 1), weight([90, 700], 2)];
    for (let i = 0; i < 8; i++) {
      const backend = new WasmBackend({ threads: 2, library: { ...library(), model: normalBytes(100) } });
      await expect(values(backend, (op, put) => op.linear(put(x), put(w)))).rejects.toThrow(/[Pp]rotobuf|[Mm]odel/);
      await backend.close();
    }
  });
};

if (hasBinary) describe("matrix products by a native library", suite);

describe("looking for the library", () => {
  const folder = mkdtempSync(join(tmpdir(), "library-"));
  const beside = pathToFileURL(join(folder, "here.js")).href;
  const place = join(folder, "node_modules", "onnxruntime-node");
  beforeAll(() => mkdirSync(place, { recursive: true }));
  afterAll(() => rmSync(folder, { recursive: true }));

  it("names what is installed, or why it does not load", () => {
    if (hasBinary) expect(library().name).toMatch(/^ONNX Runtime \d+\.\d+\.\d+$/);
    else expect(found).toMatchObject({ library: null, reason: expect.stringContaining("does not load") });
  });

  it("says that nothing is installed", () => {
    expect(findOnnx(beside)).toMatchObject({ library: null, reason: expect.stringContaining("is not installed") });
  });

  it("says why what is installed does not load", () => {
    writeFileSync(join(place, "index.js"), 'throw new Error("libonnxruntime.so.1: cannot open shared object file")');
    expect(findOnnx(beside)).toMatchObject({
      library: null,
      reason: expect.stringMatching(/does not load: .*cannot open shared object file/),
    });
  });
});

const normalBytes = (count: number): Uint8Array => Uint8Array.from(normal(count, 7), (x) => 40 * x);

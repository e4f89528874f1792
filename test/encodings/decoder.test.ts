// Tensors that are decoded by tables: the bits of each code under its scale, computed alone, in ranges of any kind.
import { expect, it } from "vitest";
import { FLOAT_BYTES } from "../../src/base/floats.ts";
import { Decoder } from "../../src/encodings/decoder.ts";
import type { EncodedTensor, Encoding } from "../../src/encodings/encoding.ts";
import { type Decoded, storeFloats } from "../../src/encodings/floats.ts";
import { fp8Blocks } from "../../src/encodings/fp8.ts";
import { mxfp4 } from "../../src/encodings/mxfp4.ts";
import { Workspace } from "../../src/encodings/workspace.ts";

/** Ordinary ones, subnormal products, overflow, zero, negative, infinite. */
const SINGLES = [1, 2 ** -10 * 1.37, 2 ** -140, 1e-38, 3e37, 0, -0.75, 2 ** 119, Number.POSITIVE_INFINITY];

function stored(encoding: Encoding, shape: readonly number[]) {
  const tensor: EncodedTensor = { encoding, key: "w", shape, codes: "codes", scales: "scales" };
  const { codes, scales } = encoding.stored(tensor);
  const count = shape.reduce((a, b) => a * b, 1);
  // Every byte under every scale, as 89 is prime to the sizes.
  const codeBytes = Uint8Array.from({ length: codes.byteLength }, (_, i) => (i * 89 + (i >> 8)) & 255);
  const singles = Float32Array.from({ length: scales.byteLength / 4 }, (_, i) => SINGLES[i % SINGLES.length]!);
  const scaleBytes =
    encoding.scaleDtype === "F32"
      ? new Uint8Array(singles.buffer)
      : Uint8Array.from({ length: scales.byteLength }, (_, i) => (i * 7) & 255);
  const files = new Map([
    ["codes", codeBytes],
    ["scales", scaleBytes],
  ]);
  const source = {
    tensors: new Map([
      ["codes", { ...codes, key: "codes" }],
      ["scales", { ...scales, key: "scales" }],
    ]),
    read: (key: string, begin: number, target: Uint8Array) =>
      target.set(files.get(key)!.subarray(begin, begin + target.length)),
  };
  return { tensor, source, codeBytes, scaleOf: encoding.scaleDtype === "F32" ? singles : scaleBytes, count };
}

/** One code at a time. */
function alone({ tensor, codeBytes, scaleOf, count }: ReturnType<typeof stored>, dtype: Decoded): Uint8Array {
  const { encoding, shape } = tensor;
  const width = shape.at(-1)!;
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const scale = scaleOf[encoding.scaleIndex(shape, Math.floor(i / width), i % width)]!;
    encoding.decode(codeBytes, i, scale, values, i, i + 1);
  }
  const bytes = new Uint8Array(count * FLOAT_BYTES[dtype]);
  storeFloats(dtype, values, bytes, 0);
  return bytes;
}

const tensors = {
  // A scale stands for 1024 codes, or for so few that its table would cost more.
  "fp8 in large blocks": stored(fp8Blocks([16, 64]), [70, 300]),
  "fp8 in small blocks": stored(fp8Blocks([1, 128]), [64, 300]),
  mxfp4: stored(mxfp4, [3, 50, 128]),
};

it.each(
  (["F32", "BF16", "F16"] as const).flatMap((dtype) =>
    (["fp8 in large blocks", "fp8 in small blocks", "mxfp4"] as const).map((name) => [name, dtype] as const),
  ),
)("%s to %s, every code under every scale", (name, dtype) => {
  const made = tensors[name];
  const decoder = new Decoder(made.source, made.tensor, dtype, new Workspace());
  const expected = alone(made, dtype);
  const size = FLOAT_BYTES[dtype];
  for (const [first, length] of [
    [0, made.count],
    [1, 31],
    [33, 4096],
    [made.count - 5, 5],
    [7, 2],
  ] as const) {
    const target = new Uint8Array(length * size);
    decoder.read(first * size, target);
    expect(Buffer.compare(target, expected.subarray(first * size, (first + length) * size))).toBe(0);
  }
  expect(() => decoder.read(1, new Uint8Array(size))).toThrow(RangeError);
});

it("more than is decoded at once", () => {
  const large = stored(mxfp4, [2, 600, 128]);
  const target = new Uint8Array(large.count * 2 - 2);
  new Decoder(large.source, large.tensor, "BF16", new Workspace()).read(2, target);
  expect(Buffer.compare(target, alone(large, "BF16").subarray(2))).toBe(0);
});

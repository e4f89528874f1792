import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { elementCount } from "../../src/base/dtype.ts";
import { decodedSource } from "../../src/encodings/decoded.ts";
import { encodedSource } from "../../src/encodings/encoded.ts";
import { storeFloats } from "../../src/encodings/floats.ts";
import { fp8Blocks } from "../../src/encodings/fp8.ts";
import { mxfp4 } from "../../src/encodings/mxfp4.ts";
import { encodedAs } from "../../src/encodings/quantisation.ts";
import type { TensorInfo } from "../../src/formats/checkpoint.ts";
import { castingRead } from "../../src/views/cast.ts";

const fp8 = fp8Blocks([128, 128]);

/** Nearest of all codes by their values; where two are equally near, `prefer` decides. */
function nearest(
  codes: readonly number[],
  decoded: (code: number) => number,
  x: number,
  prefer: (code: number) => boolean,
) {
  const distance = (code: number) => Math.abs(decoded(code) - x);
  const best = Math.min(...codes.map(distance));
  const near = codes.filter((code) => distance(code) === best);
  return near.find(prefer) ?? near[0]!;
}

describe("codes", () => {
  const finite = Array.from({ length: 256 }, (_, code) => code).filter((code) => (code & 0x7f) !== 0x7f);

  test("every FP8 code is the code of its value", () => {
    for (const code of finite) expect(fp8.code(fp8.value(code, 1), 1)).toBe(code);
    expect(fp8.value(0x7f, 1)).toBeNaN();
    expect(fp8.value(0x7e, 1)).toBe(448);
    expect(fp8.value(0x01, 1)).toBe(2 ** -9);
    expect(fp8.code(Number.NaN, 1)).toBe(0x7f);
    expect([fp8.code(1e9, 1), fp8.code(-1e9, 1)]).toEqual([0x7e, 0xfe]);
  });

  test("FP8 is to nearest, ties to even", () => {
    const sample = fc.oneof(
      fc.float({ min: -500, max: 500, noNaN: true }),
      fc.float({ min: Math.fround(-0.03), max: Math.fround(0.03), noNaN: true }),
      // Half-way between neighbours.
      fc.integer({ min: 0, max: 0x7d }).map((code) => (fp8.value(code, 1) + fp8.value(code + 1, 1)) / 2),
    );
    const magnitudes = finite.filter((code) => code < 0x80);
    fc.assert(
      fc.property(sample, (x) => {
        const expected = nearest(
          magnitudes,
          (code) => fp8.value(code, 1),
          Math.min(Math.abs(x), 448),
          (code) => code % 2 === 0,
        );
        expect(fp8.code(x, 1) & 0x7f).toBe(expected);
      }),
    );
  });

  test("MXFP4 is to nearest, ties to the lower index, and every code is that of its value", () => {
    for (let code = 0; code < 16; code++) {
      for (const scale of [1, 120, 127, 200]) expect(mxfp4.code(mxfp4.value(code, scale), scale)).toBe(code);
    }
    const ties = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5];
    expect(ties.map((x) => mxfp4.code(x, 127))).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(ties.map((x) => mxfp4.code(-x, 127))).toEqual([8, 9, 10, 11, 12, 13, 14]);
    expect(mxfp4.code(99, 127)).toBe(7);
    // As torch.ldexp has it: 2^128 alone has no place in f32.
    expect([mxfp4.value(0, 255), mxfp4.value(8, 255), mxfp4.value(1, 255)]).toEqual([0, -0, 2 ** 127]);
    expect(mxfp4.value(15, 255)).toBe(Number.NEGATIVE_INFINITY);
  });

  test("canonical scales", () => {
    expect([fp8.scaleOf(0), fp8.scaleOf(448), fp8.scaleOf(1)]).toEqual([1, 1, Math.fround(1 / 448)]);
    expect([6, 4, 3.99, 8, 0, 1e-45, 3e38].map((amax) => mxfp4.scaleOf(amax))).toEqual([
      127, 127, 126, 128, 127, 0, 252,
    ]);
  });
});

test("decoded values are rounded as casts are", () => {
  const special = [0, -0, 1, -1.5, 65504, 65519.99, 65520, 1e-7, 6e-8, 2.98e-8, 3.4e38, 1e-40, Infinity, -Infinity];
  const values = Float32Array.from({ length: 5000 }, (_, i) => special[i] ?? Math.sin(i) * 2 ** ((i % 60) - 30));
  const bytes = new Uint8Array(values.buffer);
  for (const dtype of ["F32", "BF16", "F16"] as const) {
    const size = dtype === "F32" ? 4 : 2;
    const [found, expected] = [new Uint8Array(values.length * size), new Uint8Array(values.length * size)];
    storeFloats(dtype, values, found, 0);
    castingRead((_, begin, target) => target.set(bytes.subarray(begin, begin + target.length)), "F32", dtype)(
      "x",
      0,
      expected,
    );
    expect(Buffer.from(found).equals(Buffer.from(expected)), dtype).toBe(true);
  }
});

test.each(["float32", "bfloat16", "float16"])("both NaN codes of FP8 come back from %s", (dtype) => {
  const key = "a_proj.weight";
  const shape = [1, 256];
  // Every code, as far as it is one: 0x7f and 0xff are NaN, and -NaN is a code of its own.
  const codes = Uint8Array.from({ length: 256 }, (_, code) => code);
  const scales = new Float32Array([1, 1]);
  const stored = sourceOf({
    [key]: { info: { dtype: "F8_E4M3", shape, byteLength: 256 }, bytes: codes },
    [`${key}_scale_inv`]: {
      info: { dtype: "F32", shape: [1, 2], byteLength: 8 },
      bytes: new Uint8Array(scales.buffer),
    },
  });
  const decoded = decodedSource(stored, { dtype }, "model")!;
  const again = encodedSource(decoded, [encodedAs(fp8, key, shape)!], () => scales);
  const back = new Uint8Array(256);
  again.read(key, 0, back);
  expect([...back]).toEqual([...codes]);
  expect(again.counts).toEqual({ kept: 2, canonical: 0 });
});

/** Tensors in memory. */
function sourceOf(tensors: Readonly<Record<string, { info: Omit<TensorInfo, "key">; bytes: Uint8Array }>>) {
  return {
    tensors: new Map(Object.entries(tensors).map(([key, { info }]) => [key, { ...info, key }])),
    read: (key: string, begin: number, target: Uint8Array) =>
      target.set(tensors[key]!.bytes.subarray(begin, begin + target.length)),
  };
}

const wave = (count: number, seed: number) =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(i * 12.9898 + seed) * (i % 97 === 0 ? 300 : 1));

describe.each([
  ["fp8", [130, 257]],
  ["fp8", [1, 1]],
  ["fp8", [128, 128]],
  ["fp8", [300, 5]],
  ["mxfp4", [3, 5, 64]],
  ["mxfp4", [2, 32]],
] as const)("%s of %j", (name, shape) => {
  const key = name === "fp8" ? "a_proj.weight" : "experts.down_proj";
  const encoding = name === "fp8" ? fp8 : mxfp4;
  const count = elementCount(shape);
  const plain = (values: Float32Array) =>
    sourceOf({ [key]: { info: { dtype: "F32", shape, byteLength: 4 * count }, bytes: new Uint8Array(values.buffer) } });
  const encode = (values: Float32Array, kept: (key: string) => Float32Array | Uint8Array | null = () => null) =>
    encodedSource(plain(values), [encodedAs(encoding, key, shape)!], kept);
  const decode = (source: ReturnType<typeof encode>) => decodedSource(source, { dtype: "float32" }, "model")!;
  const all = (source: Pick<ReturnType<typeof encode>, "tensors" | "read">, name: string) => {
    const bytes = new Uint8Array(source.tensors.get(name)!.byteLength);
    source.read(name, 0, bytes);
    return bytes;
  };

  test("errors are at most half a step of the block's scale", () => {
    const values = wave(count, 1);
    const decoded = new Float32Array(all(decode(encode(values)), key).buffer);
    const width = shape.at(-1)!;
    const scales = all(encode(values), encoding.stored({ key, shape }).scales.key);
    const stored = name === "fp8" ? new Float32Array(scales.buffer) : scales;
    for (let i = 0; i < count; i++) {
      const scale = stored[encoding.scaleIndex(shape, Math.floor(i / width), i % width)]!;
      const size = name === "fp8" ? scale : 2 ** (scale - 127);
      // A sixteenth of the value, or half the smallest step; MXFP4 saturates from 6 on, a value below 8.
      const bound =
        name === "fp8"
          ? Math.max(Math.abs(values[i]!) / 16, size * 2 ** -10)
          : Math.max(size * 2, Math.abs(values[i]!) / 4);
      expect(Math.abs(decoded[i]! - values[i]!)).toBeLessThanOrEqual(bound * 1.0001);
    }
  });

  test("decoded and encoded again under the same scales, every byte is as it was", () => {
    const first = encode(wave(count, 2));
    const { codes, scales } = encoding.stored({ key, shape });
    const bytes = all(first, scales.key);
    const again = encode(new Float32Array(all(decode(first), key).buffer), () =>
      name === "fp8" ? new Float32Array(bytes.slice().buffer) : bytes,
    );
    for (const stored of [codes.key, scales.key])
      expect(Buffer.from(all(again, stored)).equals(Buffer.from(all(first, stored)))).toBe(true);
    expect(again.counts).toEqual({ kept: elementCount(scales.shape), canonical: 0 });
  });

  test("any range reads as a part of the whole, decoded and encoded", () => {
    const source = encode(wave(count, 3));
    const views = [
      [source, encoding.stored({ key, shape }).codes.key, 1],
      [decode(source), key, 4],
    ] as const;
    for (const [view, name, unit] of views) {
      const whole = all(view, name);
      fc.assert(
        fc.property(fc.nat(whole.length / unit), fc.nat(whole.length / unit), (a, b) => {
          const [begin, end] = [Math.min(a, b) * unit, Math.max(a, b) * unit];
          const part = new Uint8Array(end - begin);
          view.read(name, begin, part);
          expect(Buffer.from(part).equals(Buffer.from(whole.subarray(begin, end)))).toBe(true);
        }),
        { numRuns: 30 },
      );
    }
  });
});

describe("of a large tensor", () => {
  const count = (1 << 20) * 8;
  const cases = [
    ["fp8", fp8, [8 * 1024, 1024]],
    ["mxfp4", mxfp4, [4, 2048, 1024]],
  ] as const;

  /** BF16 values without end; counts what is read. */
  const counting = (key: string, shape: readonly number[]) => {
    const read = { bytes: 0 };
    const info: TensorInfo = { key, dtype: "BF16", shape, byteLength: 2 * count };
    const source = {
      tensors: new Map([[key, info]]),
      read(_: string, begin: number, target: Uint8Array) {
        for (let i = 0; i < target.length; i++) target[i] = i & 1 ? 0x3f : (begin + i) >> 12;
        read.bytes += target.length;
      },
    };
    return { source, read };
  };

  test.each(cases)("%s reads the rows around what it is asked for, once", (_, encoding, shape) => {
    for (const part of ["codes", "scales"] as const) {
      const { source, read } = counting("w", shape);
      const encoded = encodedSource(source, [encodedAs(encoding, "w", shape)!], () => null);
      const { key, byteLength } = encoding.stored({ key: "w", shape })[part];
      const piece = new Uint8Array(16);
      encoded.read(key, byteLength / 2, piece);
      encoded.read(key, byteLength / 2 + 16, piece);
      expect(read.bytes).toBe(2 * (1 << 20));
    }
  });

  test.each(cases)("%s reads each value once for its codes and its scales, in pieces", (_, encoding, shape) => {
    const { source, read } = counting("w", shape);
    const tensor = encodedAs(encoding, "w", shape)!;
    const { codes, scales } = encoding.stored(tensor);
    const whole = encodedSource(source, [tensor], () => null);
    const expected = [scales, codes].map(({ key, byteLength }) => {
      const bytes = new Uint8Array(byteLength);
      whole.read(key, 0, bytes);
      return bytes;
    });
    read.bytes = 0;
    const pieces = encodedSource(source, [tensor], () => null);
    const found = [codes, scales].map(({ key, byteLength }) => {
      const bytes = new Uint8Array(byteLength);
      const size = 1000 * 16;
      for (let at = 0; at < byteLength; at += size) pieces.read(key, at, bytes.subarray(at, at + size));
      return bytes;
    });
    expect(read.bytes).toBe(2 * count);
    expect(found.toReversed().map((bytes, i) => Buffer.compare(bytes, expected[i]!))).toEqual([0, 0]);
    expect(pieces.counts).toEqual({ kept: 0, canonical: elementCount(scales.shape) });
    expect(pieces.counts).toEqual(whole.counts);
  });
});

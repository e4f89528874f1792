import { describe, expect, it } from "vitest";
import { FLOATS, type Float, isFloat } from "../../src/base/floats.ts";
import type { Checkpoint } from "../../src/formats/checkpoint.ts";
import { openSafetensors } from "../../src/formats/safetensors/open.ts";
import { cast, castingRead, newCastStats } from "../../src/views/cast.ts";

const BYTES = { F64: 8, F32: 4, F16: 2, BF16: 2 } as const;
const pairs = FLOATS.flatMap((from) => FLOATS.filter((to) => to !== from).map((to) => [from, to] as const));

function payload(checkpoint: Checkpoint, key: string): Buffer {
  const bytes = Buffer.alloc(checkpoint.tensors.get(key)?.byteLength ?? 0);
  checkpoint.read(key, 0, bytes);
  return bytes;
}

const EXPONENT = { F64: 0x7ffn << 52n, F32: 0xffn << 23n, F16: 0x1fn << 10n, BF16: 0xffn << 7n } as const;

/** Bits of element `i`, and whether they are a NaN. */
function element(bytes: Buffer, dtype: Float, i: number) {
  const size = BYTES[dtype];
  const bits = size === 8 ? bytes.readBigUInt64LE(i * 8) : BigInt(bytes.readUIntLE(i * size, size));
  const magnitude = bits & ((1n << BigInt(size * 8 - 1)) - 1n);
  return { hex: bits.toString(16), nan: magnitude > EXPONENT[dtype] };
}

describe.each(pairs)("%s to %s", (from, to) => {
  const path = new URL(`../../fixtures/casts/${from}-${to}.safetensors`, import.meta.url).pathname;
  const checkpoint = openSafetensors(path);
  const source = payload(checkpoint, "source");
  const target = payload(checkpoint, "target");
  checkpoint.close();

  it("gives the bits that torch gives", () => {
    const made = Buffer.from(cast(source, from, to));
    expect(made.length).toBe(target.length);
    let nans = 0;
    for (let i = 0; i < source.length / BYTES[from]; i += 1) {
      const ours = element(made, to, i);
      const torchs = element(target, to, i);
      if (torchs.nan) nans += 1;
      if (torchs.nan && to === "BF16") expect(ours.hex).toBe("7fc0");
      else if (ours.hex !== torchs.hex) expect.fail(`${element(source, from, i).hex} → ${ours.hex}, not ${torchs.hex}`);
    }
    expect(nans).toBeGreaterThan(4);
  });
});

const floats = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);

const NONE_LOST = { overflows: 0, vanished: 0 };

describe("stats", () => {
  it("show that nothing remains, zeros aside", () => {
    const stats = newCastStats();
    cast(floats(2 ** -26, 0, -1e-30), "F32", "F16", stats);
    expect(stats).toMatchObject({ vanished: 2, remains: false });
    cast(floats(1), "F32", "F16", stats);
    expect(stats).toMatchObject({ vanished: 2, remains: true });
  });

  it("hold the largest relative error, measured on what was written", () => {
    const stats = newCastStats();
    const made = cast(floats(1, 1 + 2 ** -9, -3, 0, Number.NaN, Infinity), "F32", "BF16", stats);
    expect([...new Uint16Array(made.buffer)]).toEqual([0x3f80, 0x3f80, 0xc040, 0, 0x7fc0, 0x7f80]);
    expect(stats).toEqual({ elements: 6, maxRelativeError: 2 ** -9 / (1 + 2 ** -9), ...NONE_LOST, remains: true });
    cast(floats(1), "F32", "BF16", stats);
    expect(stats).toMatchObject({ elements: 7, maxRelativeError: 2 ** -9 / (1 + 2 ** -9) });
  });

  it("count values that overflow, and show 1 for one that vanishes", () => {
    const stats = newCastStats();
    cast(floats(65520, -1e30, Infinity, 65519), "F32", "F16", stats);
    expect(stats.overflows).toBe(2);
    expect(stats.maxRelativeError).toBeLessThan(2 ** -11);
    expect(stats.vanished).toBe(0);
    cast(floats(2 ** -26), "F32", "F16", stats);
    expect(stats).toMatchObject({ maxRelativeError: 1, vanished: 1, remains: true });
  });

  it("count overflow from F64, too", () => {
    const stats = newCastStats();
    const doubles = new Uint8Array(Float64Array.of(1e300, 1, -1e39, 1 + 2 ** -30).buffer);
    for (const to of ["F32", "BF16", "F16"] as const) cast(doubles, "F64", to, stats);
    expect(stats).toEqual({
      elements: 12,
      maxRelativeError: 2 ** -30 / (1 + 2 ** -30),
      overflows: 6,
      vanished: 0,
      remains: true,
    });
  });

  it("stay zero for exact casts", () => {
    const stats = newCastStats();
    const halves = new Uint8Array(Uint16Array.from({ length: 1 << 16 }, (_, i) => i).buffer);
    for (const from of ["F16", "BF16"] as const)
      for (const to of ["F32", "F64"] as const) cast(halves, from, to, stats);
    expect(stats).toEqual({ elements: 4 << 16, maxRelativeError: 0, ...NONE_LOST, remains: false });
  });
});

it("every F16 and BF16 comes back from F32 and F64, NaNs as the policy says", () => {
  const all = Uint16Array.from({ length: 1 << 16 }, (_, i) => i);
  for (const [dtype, exponent, quiet] of [
    ["F16", 0x7c00, 0x200],
    ["BF16", 0x7f80, 0x40],
  ] as const) {
    for (const wide of ["F32", "F64"] as const) {
      const there = cast(new Uint8Array(all.buffer), dtype, wide);
      const back = new Uint16Array(cast(there, wide, dtype).buffer);
      const expected = all.map((bits) => {
        if ((bits & 0x7fff) <= exponent) return bits;
        return dtype === "BF16" ? 0x7fc0 : bits | quiet;
      });
      expect(Buffer.from(back.buffer).equals(Buffer.from(expected.buffer)), `${dtype} ${wide}`).toBe(true);
    }
  }
});

it("a read through a cast gives any range of elements", () => {
  const values = Float32Array.from({ length: 100_000 }, (_, i) => Math.sin(i) * 1e-3);
  const bytes = new Uint8Array(values.buffer);
  const whole = cast(bytes, "F32", "BF16");
  const read = castingRead(
    (_, begin, target) => target.set(bytes.subarray(begin, begin + target.length)),
    "F32",
    "BF16",
  );
  for (const [begin, end] of [
    [0, 200_000],
    [2, 4],
    [65_534, 65_538],
    [199_998, 200_000],
    [7, 7],
  ] as const) {
    if (begin === end) continue;
    const target = new Uint8Array(end - begin);
    read("t", begin, target);
    expect(Buffer.from(target).equals(whole.subarray(begin, end))).toBe(true);
  }
  expect(() => read("t", 1, new Uint8Array(2))).toThrow("t: range cuts an element");
});

it("knows which types it casts", () => {
  expect([isFloat("BF16"), isFloat("F8_E4M3"), isFloat("I64")]).toEqual([true, false, false]);
});

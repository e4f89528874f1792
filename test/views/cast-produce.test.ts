import { expect, it } from "vitest";
import type { Dtype } from "../../src/base/dtype.ts";
import { RAW } from "../../src/family/layout.ts";
import { Gatherer } from "../../src/views/gather.ts";
import type { Mapping } from "../../src/views/mapping.ts";
import { Producer } from "../../src/views/produce.ts";
import { tensorInfo } from "../../src/views/tensor-source.ts";

/** Column 0 of two columns, from each of the sources in turn. */
function mapping(
  sources: Readonly<Record<string, { dtype: Dtype; bytes: Uint8Array; rows: number }>>,
  to: Dtype,
): Mapping {
  const keys = Object.keys(sources);
  let targetOffset = 0;
  const pieces = keys.map((source) => {
    const sizes = [sources[source]?.rows ?? 0];
    const piece = { source, sourceOffset: 0, targetOffset, sizes, sourceStrides: [2], targetStrides: [1] };
    targetOffset += sizes[0] ?? 0;
    return piece;
  });
  const shape = [targetOffset];
  const tensor = { info: tensorInfo("t", to, shape), move: { key: "t", shape, pieces, rule: "test" }, sources: keys };
  return {
    from: RAW,
    to: RAW,
    tensors: new Map([["t", tensor]]),
    equalities: [],
    dropped: [],
    spelling: new Map(),
    order: null,
    orderAt: [],
    aliases: new Map(),
    source: {
      tensors: new Map(keys.map((key) => [key, tensorInfo(key, sources[key]!.dtype, [sources[key]!.rows, 2])])),
      read: (key, begin, target) => target.set(sources[key]!.bytes.subarray(begin, begin + target.length)),
    },
  };
}

function run(one: Mapping, range: readonly [number, number]) {
  const producer = new Producer(one, new Gatherer());
  const chunks: Buffer[] = [];
  producer.produce("t", range, (bytes) => chunks.push(Buffer.from(bytes)));
  return { bits: [...new Uint16Array(new Uint8Array(Buffer.concat(chunks)).buffer)], stats: producer.casts.get("t") };
}

const f32 = (...values: number[]) => ({
  dtype: "F32" as const,
  bytes: new Uint8Array(Float32Array.from(values).buffer),
  rows: values.length / 2,
});
const bf16 = (...bits: number[]) => ({
  dtype: "BF16" as const,
  bytes: new Uint8Array(Uint16Array.from(bits).buffer),
  rows: bits.length / 2,
});

it("counts the elements of the target, not those read over in between", () => {
  const { bits, stats } = run(mapping({ s: f32(1, 1e30, 2, 1e30, 1 + 2 ** -12, 3) }, "F16"), [0, 6]);
  expect(bits).toEqual([0x3c00, 0x4000, 0x3c00]);
  expect(stats).toEqual({
    elements: 3,
    maxRelativeError: 2 ** -12 / (1 + 2 ** -12),
    overflows: 0,
    vanished: 0,
    remains: true,
  });
  expect(run(mapping({ s: f32(1, 0, 2, 0) }, "BF16"), [2, 4]).bits).toEqual([0x4000]);
});

it("joins sources of several types", () => {
  const { bits } = run(mapping({ a: f32(1, 9, 2, 9), b: bf16(0x3f80, 0, 0x7fa1, 0) }, "BF16"), [0, 8]);
  expect(bits).toEqual([0x3f80, 0x4000, 0x3f80, 0x7fa1]);
});

it("leaves bits alone where nothing is cast", () => {
  const { bits, stats } = run(mapping({ s: bf16(0x7fa1, 0, 0xff81, 0) }, "BF16"), [0, 4]);
  expect([bits, stats]).toEqual([[0x7fa1, 0xff81], undefined]);
});

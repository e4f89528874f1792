// Tensors are decoded and encoded in buffers that the plan of a conversion counts: what is left to be collected would come on top.
import { expect, it } from "vitest";
import type { Dtype } from "../../src/base/dtype.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { decodedSource } from "../../src/encodings/decoded.ts";
import { decodingBytes } from "../../src/encodings/decoder.ts";
import { encodedSource } from "../../src/encodings/encoded.ts";
import type { Encoding } from "../../src/encodings/encoding.ts";
import { fp8Blocks } from "../../src/encodings/fp8.ts";
import { mxfp4 } from "../../src/encodings/mxfp4.ts";
import { encodedAs } from "../../src/encodings/quantisation.ts";

/** Tensors whose bytes are zeros; `watch` is called with every read. */
function zeros(
  infos: readonly { key: string; dtype: Dtype; shape: readonly number[]; byteLength: number }[],
  watch: () => void,
) {
  return {
    tensors: new Map(infos.map((info) => [info.key, info])),
    read(_: string, __: number, target: Uint8Array) {
      target.fill(0);
      watch();
    },
  };
}

/** The most bytes of buffers that there were beside those at the beginning. */
function peakOf(work: (watch: () => void) => void): number {
  let most = 0;
  const before = process.memoryUsage().arrayBuffers;
  work(() => {
    most = Math.max(most, process.memoryUsage().arrayBuffers - before);
  });
  return most;
}

const SHAPE = [2048, 4096];
/** What reads it, and what else runs here. */
const SLACK = 1 << 20;

it.each<readonly [string, Encoding, JsonObject]>([
  ["fp8", fp8Blocks([128, 128]), {}],
  ["fp8 in small blocks", fp8Blocks([1, 128]), { quantization_config: { weight_block_size: [1, 128] } }],
  ["mxfp4", mxfp4, {}],
])("%s", (_, encoding, config) => {
  const key = "w";
  const tensor = encodedAs(encoding, key, SHAPE)!;
  const { codes, scales } = encoding.stored(tensor);
  const bytes = new Uint8Array(1 << 16);
  const readAll = (source: Pick<ReturnType<typeof zeros>, "read">, name: string, end: number) => {
    for (let at = 0; at < end; at += bytes.length)
      source.read(name, at, bytes.subarray(0, Math.min(bytes.length, end - at)));
  };
  const decoding = peakOf((watch) =>
    readAll(decodedSource(zeros([codes, scales], watch), config, "model")!, key, 2 * 2048 * 4096),
  );
  expect(decoding).toBeLessThan(decodingBytes([tensor]) + SLACK);
  let planned = 0;
  const plain = { key, dtype: "BF16", shape: SHAPE, byteLength: 2 * 2048 * 4096 } as const;
  const encoded = peakOf((watch) => {
    const source = encodedSource(zeros([plain], watch), [tensor], () => null);
    planned = source.workBytes;
    readAll(source, codes.key, codes.byteLength);
  });
  expect(encoded).toBeLessThan(planned + SLACK);
});

import { crc32 } from "node:zlib";
import type { OutputFile } from "../../src/formats/output.ts";
import type { Produce } from "../../src/output/write/file.ts";

/** Small steps, so that small files take several. */
export const STEP = 2 ** 19;

/** Byte `i` of tensor `key`. */
export const byteAt = (key: string, i: number): number => (Math.imul(i + key.length * 977, 2654435761) >>> 21) & 255;

const chunk = new Uint8Array(2 ** 17);

export const produceBytes: Produce = (key, begin, end, sink) => {
  for (let at = begin; at < end; at += chunk.length) {
    const length = Math.min(chunk.length, end - at);
    for (let i = 0; i < length; i += 1) chunk[i] = byteAt(key, at + i);
    sink(chunk.subarray(0, length));
  }
};

/** Two files: a header, a tensor of `bytes` whose CRC-32 follows it, and a second tensor; one in a folder. */
export function plannedFiles(bytes: number): OutputFile[] {
  const make = (crc32: (number: number) => number) => {
    const sum = Buffer.alloc(4);
    sum.writeUInt32LE(crc32(0));
    return sum;
  };
  const header = Buffer.from("a header");
  return [
    {
      name: "first.distcp",
      byteLength: header.length + bytes + 4 + 10,
      parts: [
        { kind: "bytes", bytes: header },
        { kind: "tensor", key: "large", begin: 0, end: bytes, sum: 0 },
        { kind: "sums", byteLength: 4, firstSum: 0, needs: [0, 1], make },
        { kind: "tensor", key: "small", begin: 5, end: 15 },
      ],
    },
    { name: "folder/second.distcp", byteLength: 100, parts: [{ kind: "tensor", key: "other", begin: 0, end: 100 }] },
    { name: "empty.distcp", byteLength: 0, parts: [] },
  ];
}

/** What the files must hold. */
export function expectedFiles(bytes: number): Record<string, Buffer> {
  const tensor = (key: string, begin: number, end: number) =>
    Buffer.from(Uint8Array.from({ length: end - begin }, (_, i) => byteAt(key, begin + i)));
  const large = tensor("large", 0, bytes);
  const sum = Buffer.alloc(4);
  sum.writeUInt32LE(crc32(large));
  return {
    "empty.distcp": Buffer.alloc(0),
    "first.distcp": Buffer.concat([Buffer.from("a header"), large, sum, tensor("small", 5, 15)]),
    "folder/second.distcp": tensor("other", 0, 100),
  };
}

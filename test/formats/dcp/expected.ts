// Cases of fixtures/dcp: what torch wrote, and the same tensors as safetensors wrote them.
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Checkpoint } from "../../../src/formats/checkpoint.ts";

export const DCP_FIXTURES = fileURLToPath(new URL("../../../fixtures/dcp/", import.meta.url));

export const dcpCases: readonly string[] = readdirSync(DCP_FIXTURES).filter(
  (name) => !/^(?:pt|hf)-|\.json$/.test(name),
);
export const torchFileCases: readonly string[] = readdirSync(DCP_FIXTURES).filter((name) => name.startsWith("pt-"));

export interface PlainTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Of the row-major bytes. */
  readonly hex: string;
}

function entries(value: unknown): [string, unknown][] {
  return typeof value === "object" && value !== null ? Object.entries(value) : [];
}

/** A plain reader of safetensors, independent of src. */
export function expectedTensors(name: string): Map<string, PlainTensor> {
  const file = readFileSync(`${DCP_FIXTURES}${name}/expect.safetensors`);
  const dataBegin = 8 + Number(file.readBigUInt64LE(0));
  const header: unknown = JSON.parse(file.toString("utf8", 8, dataBegin));
  const tensors = new Map<string, PlainTensor>();
  for (const [key, value] of entries(header)) {
    const { dtype, shape, data_offsets } = Object.fromEntries(entries(value));
    if (typeof dtype !== "string" || !Array.isArray(shape) || !Array.isArray(data_offsets)) continue;
    const [begin, end] = data_offsets.map(Number);
    tensors.set(key, {
      dtype,
      shape: shape.map(Number),
      hex: file.toString("hex", dataBegin + begin!, dataBegin + end!),
    });
  }
  return tensors;
}

export function expectedOthers(name: string): unknown {
  return JSON.parse(readFileSync(`${DCP_FIXTURES}${name}/others.json`, "utf8"));
}

/** All tensors of a checkpoint, read in pieces of at most `step` bytes. */
export function plainTensors(checkpoint: Checkpoint, step = Number.POSITIVE_INFINITY): Map<string, PlainTensor> {
  const tensors = new Map<string, PlainTensor>();
  for (const { key, dtype, shape, byteLength } of checkpoint.tensors.values()) {
    const bytes = Buffer.alloc(byteLength);
    for (let at = 0; at < byteLength; at += step)
      checkpoint.read(key, at, bytes.subarray(at, Math.min(at + step, byteLength)));
    tensors.set(key, { dtype, shape, hex: bytes.toString("hex") });
  }
  return tensors;
}

/** Maps in order of their keys, so that they compare by content. */
export const sorted = <T>(map: ReadonlyMap<string, T>): [string, T][] =>
  [...map].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));

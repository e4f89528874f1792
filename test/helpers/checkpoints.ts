// Checkpoints opened for a moment, and checkpoints in memory: read, changed and written again, to make flawed ones.
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Dtype } from "../../src/base/dtype.ts";
import { InputError } from "../../src/base/errors.ts";
import { bitFlipped } from "../../src/faults/edit.ts";
import type { Checkpoint } from "../../src/formats/checkpoint.ts";
import { planDcp } from "../../src/formats/dcp/plan.ts";
import { planSafetensors } from "../../src/formats/safetensors/write.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { writeOutput } from "../formats/dcp/write-output.ts";

export interface Stored {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

export type State = Map<string, Stored>;

/** What `use` makes of the checkpoint, which is closed behind it. */
export async function opened<T>(path: string, use: (checkpoint: Checkpoint) => T | Promise<T>): Promise<T> {
  const checkpoint = openCheckpoint(path);
  try {
    return await use(checkpoint);
  } finally {
    checkpoint.close();
  }
}

/** Code of the InputError that opening a checkpoint throws; `none` where it opens. */
export function openingCode(path: string): string {
  try {
    openCheckpoint(path).close();
    return "none";
  } catch (error) {
    if (error instanceof InputError) return error.code;
    throw error;
  }
}

export function readState(path: string): State {
  const checkpoint = openCheckpoint(path);
  try {
    return new Map(
      [...checkpoint.tensors.values()].map(({ key, dtype, shape, byteLength }) => {
        const bytes = new Uint8Array(byteLength);
        checkpoint.read(key, 0, bytes);
        return [key, { dtype, shape, bytes }];
      }),
    );
  } finally {
    checkpoint.close();
  }
}

const list = (state: State) => [...state].map(([key, { dtype, shape }]) => ({ key, dtype, shape }));
const payloads = (state: State) => new Map([...state].map(([key, { bytes }]) => [key, bytes]));

export interface WriteOptions {
  /** A config.json to copy beside it. */
  readonly config?: string;
  readonly maxShardSize?: number;
  readonly metadata?: Readonly<Record<string, string>> | null;
}

export function writeSafetensors(directory: string, state: State, { config, ...options }: WriteOptions = {}): string {
  mkdirSync(directory, { recursive: true });
  writeOutput(directory, planSafetensors(list(state), { metadata: { format: "pt" }, ...options }), payloads(state));
  if (config !== undefined) copyFileSync(config, join(directory, "config.json"));
  return directory;
}

export function writeDcp(directory: string, state: State, { config }: WriteOptions = {}): string {
  mkdirSync(directory, { recursive: true });
  writeOutput(directory, planDcp(list(state)), payloads(state));
  if (config !== undefined) copyFileSync(config, join(directory, "config.json"));
  return directory;
}

/** A header without tensors. */
export const SMALLEST_SAFETENSORS = Buffer.from("\u0002\0\0\0\0\0\0\0{}");

export const f32 = (shape: readonly number[], value: (i: number) => number): Stored => ({
  dtype: "F32",
  shape,
  bytes: new Uint8Array(
    Float32Array.from({ length: shape.reduce((n, size) => n * size, 1) }, (_, i) => value(i)).buffer,
  ),
});

/** The same tensor with one bit of one byte changed. */
export const flipped = ({ bytes, ...rest }: Stored, at = 0): Stored => ({ ...rest, bytes: bitFlipped(bytes, at) });

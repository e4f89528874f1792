// Inputs with images, and tensors with their parts in another order.
import { join } from "node:path";
import { reordered } from "../../src/faults/edit.ts";
import type { Checkpoint } from "../../src/formats/checkpoint.ts";
import { f32, type Stored, writeSafetensors } from "./checkpoints.ts";
import { scratch } from "./scratch.ts";
import { randomTensor } from "./tensors.ts";

const integers = (shape: readonly number[], values: readonly number[]): Stored => ({
  dtype: "I64",
  shape,
  bytes: new Uint8Array(BigInt64Array.from(values, BigInt).buffer),
});

export interface ImagesToWrite {
  readonly grids: readonly (readonly [number, number, number])[];
  readonly patchDim: number;
  readonly imageToken: number;
  /** Of the text before, between and behind the images; 11 tokens each time. */
  readonly textIds: readonly number[];
}

/** A file for `--inputs` of a model that makes one token of 2 × 2 patches. */
export function inputsWith({ grids, patchDim, imageToken, textIds }: ImagesToWrite) {
  const text = Array.from({ length: 11 }, (_, i) => textIds[i % textIds.length]!);
  const ids = [...grids.flatMap(([t, h, w]) => [...text, ...Array<number>((t * h * w) / 4).fill(imageToken)]), ...text];
  const patches = grids.reduce((sum, [t, h, w]) => sum + t * h * w, 0);
  const { values } = randomTensor([patches, patchDim], 5);
  const state = new Map([
    ["input_ids", integers([ids.length], ids)],
    ["pixel_values", f32([patches, patchDim], (i) => values[i]!)],
    ["image_grid_thw", integers([grids.length, 3], grids.flat())],
  ]);
  return { kind: "inputs", file: join(writeSafetensors(scratch(), state), "model.safetensors") } as const;
}

/** Bytes of a tensor cut into `parts` equal ones: part i of the result is part `order(i)`. */
export const rearranged = (checkpoint: Checkpoint, key: string, parts: number, order: (part: number) => number) => ({
  bytes: reordered(checkpoint, key, order, parts),
});

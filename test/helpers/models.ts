// Fixture models opened for parity, and copies of them with a known fault.
import { readFileSync } from "node:fs";
import { adapters } from "../../adapters/registry.ts";
import type { JsonObject } from "../../src/family/adapter.ts";
import type { Checkpoint, TensorInfo } from "../../src/formats/checkpoint.ts";
import { openDcp } from "../../src/formats/dcp/open.ts";
import { openSafetensors } from "../../src/formats/safetensors/open.ts";
import { isTrainerState } from "../../src/model/keys.ts";
import { logicalCheckpoint } from "../../src/model/sides.ts";
import type { ParitySide } from "../../src/parity/side.ts";
import { type FixtureCase, fixtureCases } from "./fixtures.ts";

export function fixtureCase(name: string): FixtureCase {
  const found = fixtureCases.find((entry) => entry.name === name);
  if (found === undefined) throw new Error(`no fixture ${name}`);
  return found;
}

/** `change` edits the config. */
export function familyOf(entry: FixtureCase, change: JsonObject = {}) {
  const json: JsonObject = JSON.parse(readFileSync(`${entry.hf}/config.json`, "utf8"));
  const adapter = adapters.find(({ family }) => family === entry.family)!;
  return adapter.open({ ...json, ...change }, `${entry.hf}/config.json`);
}

export function hfSide(name: string, change: JsonObject = {}): ParitySide {
  const entry = fixtureCase(name);
  return { checkpoint: openHf(entry.hf), family: familyOf(entry, change), layout: "hf" };
}

/** A Hugging Face folder, decoded where it is quantised. */
export function openHf(folder: string): Checkpoint {
  const config: JsonObject = JSON.parse(readFileSync(`${folder}/config.json`, "utf8"));
  return logicalCheckpoint(openSafetensors(folder), config).checkpoint;
}

export function nativeSide(name: string, change: JsonObject = {}): ParitySide {
  const entry = fixtureCase(name);
  return {
    checkpoint: withoutTrainerState(openDcp(entry.native)),
    family: familyOf(entry, change),
    layout: entry.layout,
  };
}

/** A checkpoint in the middle of training, as the commands see it: the model alone. */
function withoutTrainerState(checkpoint: Checkpoint): Checkpoint {
  const tensors = [...checkpoint.tensors].filter(([key]) => !isTrainerState(checkpoint, key));
  return {
    ...checkpoint,
    tensors: new Map(tensors),
    read: (key, begin, target) => checkpoint.read(key, begin, target),
    verify: () => checkpoint.verify(),
    close: () => checkpoint.close(),
  };
}

/** Bytes of a whole tensor. */
export function bytesOf(checkpoint: Checkpoint, key: string): Uint8Array {
  const bytes = new Uint8Array(checkpoint.tensors.get(key)!.byteLength);
  checkpoint.read(key, 0, bytes);
  return bytes;
}

/** The side with some tensors replaced, added, or (null) taken away. Shapes and dtypes of replaced ones stay. */
export function mutated(
  side: ParitySide,
  changes: Readonly<Record<string, { readonly bytes: Uint8Array; readonly info?: TensorInfo } | null>>,
): ParitySide {
  const { checkpoint } = side;
  const tensors = new Map(checkpoint.tensors);
  for (const [key, change] of Object.entries(changes)) {
    if (change === null) tensors.delete(key);
    else if (change.info) tensors.set(key, { ...change.info, key });
  }
  return {
    ...side,
    checkpoint: {
      ...checkpoint,
      tensors,
      read(key, begin, target) {
        const change = changes[key];
        if (change) target.set(change.bytes.subarray(begin, begin + target.length));
        else checkpoint.read(key, begin, target);
      },
    },
  };
}

/** Rows of a matrix, or elements of a bias, in another order: row i of the result is row `order(i)`. */
export function reordered(checkpoint: Checkpoint, key: string, order: (row: number) => number): Uint8Array {
  const bytes = bytesOf(checkpoint, key);
  const rows = checkpoint.tensors.get(key)!.shape[0]!;
  const rowBytes = bytes.length / rows;
  const result = new Uint8Array(bytes.length);
  for (let row = 0; row < rows; row++) {
    const from = order(row) * rowBytes;
    result.set(bytes.subarray(from, from + rowBytes), row * rowBytes);
  }
  return result;
}

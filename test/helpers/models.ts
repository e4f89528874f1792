// Fixture models opened for parity, and copies of them with a known fault.
import { readFileSync } from "node:fs";
import { adapters } from "../../adapters/registry.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { type Family, tableLayout } from "../../src/family/family.ts";
import type { Layout } from "../../src/family/layout.ts";
import { bytesOf, type Change, edited } from "../../src/faults/edit.ts";
import type { Sample } from "../../src/faults/fault.ts";
import type { Kind } from "../../src/faults/kinds/kind.ts";
import type { Checkpoint } from "../../src/formats/checkpoint.ts";
import { openDcp } from "../../src/formats/dcp/open.ts";
import { openSafetensors } from "../../src/formats/safetensors/open.ts";
import { isTrainerState } from "../../src/model/keys.ts";
import { logicalCheckpoint } from "../../src/model/logical.ts";
import type { ParityModel } from "../../src/parity/side.ts";
import { tableOf } from "../../src/views/tables.ts";
import type { TensorSource } from "../../src/views/tensor-source.ts";
import { type FixtureCase, fixtureCases } from "./fixtures.ts";
import { kindOf } from "./kinds.ts";
import { layoutOf } from "./layouts.ts";

export { bytesOf };

/** A model as `openModel` makes it of a checkpoint that holds nothing else. */
export interface TestModel extends ParityModel {
  readonly checkpoint: Checkpoint;
}

export const modelOf = (family: Family, layout: Layout, checkpoint: Checkpoint & TensorSource): TestModel => ({
  checkpoint,
  family,
  layout,
  table: tableOf(tableLayout(family, layout), checkpoint.tensors),
  source: checkpoint,
});

/** The same model with the tensors of another checkpoint. */
export const withCheckpoint = ({ family, layout }: TestModel, checkpoint: Checkpoint & TensorSource): TestModel =>
  modelOf(family, layout, checkpoint);

export function fixtureCase(name: string): FixtureCase {
  const found = fixtureCases.find((entry) => entry.name === name);
  if (found === undefined) throw new Error(`no fixture ${name}`);
  return found;
}

const configOf = (entry: FixtureCase): JsonObject => JSON.parse(readFileSync(`${entry.hf}/config.json`, "utf8"));

/** `change` edits the config. */
export function familyOf(entry: FixtureCase, change: JsonObject = {}) {
  const adapter = adapters.find(({ family }) => family === entry.family)!;
  return adapter.open({ ...configOf(entry), ...change }, `${entry.hf}/config.json`);
}

export function hfSide(name: string, change: JsonObject = {}): TestModel {
  const entry = fixtureCase(name);
  const family = familyOf(entry, change);
  return modelOf(family, family.hf, openHf(entry.hf));
}

/** A Hugging Face folder, decoded where it is quantised. */
export function openHf(folder: string): Checkpoint & TensorSource {
  const config: JsonObject = JSON.parse(readFileSync(`${folder}/config.json`, "utf8"));
  return logicalCheckpoint(openSafetensors(folder), config).checkpoint;
}

/** @param folder one of the native ones */
export function nativeSide(name: string, change: JsonObject = {}, folder = "native"): TestModel {
  const entry = fixtureCase(name);
  const family = familyOf(entry, change);
  return modelOf(family, layoutOf(family, entry.layout), withoutTrainerState(openDcp(entry.natives[folder]!)));
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

/** The side with other tensors, or with some of them changed. */
export const withSource = (side: TestModel, source: TensorSource): TestModel =>
  withCheckpoint(side, { ...side.checkpoint, tensors: source.tensors, read: (...range) => source.read(...range) });

/** The side with some tensors replaced, added, or (null) taken away. Shapes and dtypes of replaced ones stay. */
export const mutated = (side: TestModel, changes: Readonly<Record<string, Change | null>>): TestModel =>
  withSource(side, edited(side.checkpoint, changes));

/** A fixture's Hugging Face side as faults are made on it. */
export const sampleOf = (name: string): Sample => ({
  source: hfSide(name).checkpoint,
  config: configOf(fixtureCase(name)),
});

/** With the fault in the place that is so called, or whose path ends so. */
function madeIn(sample: Sample, kind: Kind, place: string): Sample {
  const fitting = kind.places(sample).find((each) => each === place || each.endsWith(`.${place}`));
  return kind.make(sample, fitting ?? place);
}

/** A fixture's Hugging Face side with a fault, by the name of its kind, in one place or in several. */
export function faulty(name: string, kind: string, ...places: readonly string[]): TestModel {
  const { source, config } = places.reduce<Sample>(
    (sample, place) => madeIn(sample, kindOf(kind), place),
    sampleOf(name),
  );
  return withSource(hfSide(name, config), source);
}

// What a model is, whatever its layout and container: the hash of every tensor as Hugging Face has it, one root over
// them, and the hash of what its config makes the forward pass compute. docs/seal.md spells it out for other readers.
import { InputError } from "../../base/errors.ts";
import { runSteps, type StepOptions } from "../../base/steps.ts";
import type { Checkpoint, Format } from "../../formats/checkpoint.ts";
import { checkAdapters, checkArgument } from "../../model/argument-kinds.ts";
import { refuseRanks } from "../../model/joined.ts";
import { type Model, type ModelOptions, openModel } from "../../model/model.ts";
import { asHf, type HfView } from "../../views/as-hf.ts";
import { checkBytes, checkValues } from "../../views/checks.ts";
import { absentPart } from "../../views/difference.ts";
import { hashTensor, type Steps } from "../../views/identity/hash.ts";
import { byName, rootOf, type TensorIdentity } from "../../views/identity/merkle.ts";
import type { TensorSource } from "../../views/tensor-source.ts";
import { notCheckedNote } from "../not-checked.ts";
import { configIdentity } from "./config.ts";
import { hashStored, storedBytes } from "./encoded.ts";
import { roundingOf } from "./rounding-of.ts";
import type { Seal, SealedTensor } from "./seal-data.ts";

/** What sealing found; the seal itself depends on the model alone. */
export interface Sealed {
  readonly seal: Seal;
  readonly path: string;
  readonly layout: string | null;
  readonly format: Format;
  readonly bytes: number;
  readonly notes: readonly string[];
  readonly seconds: number;
}

export type SealOptions = ModelOptions & StepOptions;

/**
 * Throws what opening, planning and reading throw, and InputError TIE_BROKEN, DROP_NOT_DEFAULT: what a conversion would refuse
 * has no identity.
 */
export async function seal(checkpoint: Checkpoint, options: SealOptions): Promise<Sealed> {
  checkArgument("seal", "Checkpoint", checkpoint);
  checkAdapters("seal", options);
  const begin = performance.now();
  const model = modelOrNone(checkpoint, options);
  const made = model === null ? await sealRaw(checkpoint, options) : await sealModel(model, options);
  return {
    ...made,
    path: checkpoint.path,
    format: checkpoint.format,
    notes: [...made.notes, ...notCheckedNote(checkpoint)],
    seconds: (performance.now() - begin) / 1e3,
  };
}

type Made = Pick<Sealed, "seal" | "layout" | "bytes" | "notes">;

/** Null for a family that is not known: its tensors have an identity by their own names alone. */
function modelOrNone(checkpoint: Checkpoint, options: ModelOptions): Model | null {
  try {
    return openModel(checkpoint, options);
  } catch (error) {
    if (error instanceof InputError && error.code === "UNKNOWN_FAMILY") return null;
    throw error;
  }
}

async function sealModel(model: Model, options: StepOptions): Promise<Made> {
  const { checkpoint, family, stored } = model;
  const view = asHf(model, {});
  const { mapping } = view;
  const bytes = bytesOf(view.source) + storedBytes(model);
  function* work(): Steps<Pick<Seal, "tensors" | "encoded">> {
    yield* checkValues(mapping, () => false);
    const tensors = yield* hashAll(view);
    return { tensors, encoded: yield* hashStored(model) };
  }
  const { tensors, encoded } = await runSteps(work(), "hashing", bytes + checkBytes(mapping), options);
  checkpoint.verify(stored.keys);
  const root = rootOf(tensors);
  const rounding = roundingOf(stored.record(), root);
  return {
    seal: {
      view: "hf",
      family: family.family,
      root,
      config: configIdentity(family),
      tensors: byName(tensors),
      ties: tiesOf(model),
      encoded,
      roundingOf: rounding.of,
    },
    layout: model.layout.name,
    bytes,
    notes: [...stored.notes, ...(mapping.absent ?? []).map(absentPart), ...rounding.notes],
  };
}

/** Encoded tensors are decoded once, with all their digits, and rounded to the declared type from there. */
function* hashAll(view: HfView): Steps<SealedTensor[]> {
  const declared = view.source;
  const encoded = [...declared.tensors.values()].filter(({ encoding }) => encoding !== undefined);
  const keys = encoded.flatMap(({ key }) => view.origins.get(key) ?? [key]);
  const { source } = keys.length === 0 ? view : view.widened(new Set(keys));
  const tensors: SealedTensor[] = [];
  for (const info of source.tensors.values()) {
    const { dtype } = declared.tensors.get(info.key) ?? info;
    if (info.encoding === undefined || dtype === info.dtype) {
      const [own] = yield* hashTensor(source, info);
      tensors.push(info.encoding === undefined ? own : { ...own, exact: { dtype: "F32", sha256: own.sha256 } });
      continue;
    }
    const [exact, rounded] = yield* hashTensor(source, info, [dtype]);
    tensors.push({ ...rounded!, exact: { dtype: "F32", sha256: exact.sha256 } });
  }
  return tensors;
}

async function sealRaw(checkpoint: Checkpoint, options: StepOptions): Promise<Made> {
  refuseRanks(checkpoint);
  function* work(): Steps<TensorIdentity[]> {
    const tensors: TensorIdentity[] = [];
    for (const info of checkpoint.tensors.values()) tensors.push((yield* hashTensor(checkpoint, info))[0]);
    return tensors;
  }
  const bytes = bytesOf(checkpoint);
  const tensors = await runSteps(work(), "hashing", bytes, options);
  checkpoint.verify();
  const root = rootOf(tensors);
  return {
    seal: {
      ...{ view: "raw", family: null, root, config: null },
      tensors: byName(tensors),
      ...{ ties: {}, encoded: null, roundingOf: null },
    },
    layout: null,
    bytes,
    notes: [RAW_NOTE],
  };
}

const RAW_NOTE =
  "of no known family: sealed by the names and shapes of its files; only the same names in any container will match";

export const bytesOf = ({ tensors }: TensorSource): number =>
  [...tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);

/** What the config of a model ties, by Hugging Face's names. */
export const tiesOf = ({ table }: Pick<Model, "table">): Readonly<Record<string, string>> =>
  Object.fromEntries(table.tensors("hf").flatMap(({ key, of }) => (of === undefined ? [] : [[key, of]])));

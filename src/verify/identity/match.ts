// Whether a checkpoint holds the model of a seal, whatever its layout and container, without the original at hand.
import type { Check } from "../../base/check.ts";
import { runSteps, type StepOptions } from "../../base/steps.ts";
import type { Checkpoint, Format } from "../../formats/checkpoint.ts";
import { textAt } from "../../formats/io/text-folder.ts";
import { checkAdapters, checkArgument } from "../../model/argument-kinds.ts";
import { configuredAs } from "../../model/configs/configured.ts";
import { type Model, type ModelOptions, openModel } from "../../model/model.ts";
import { asHf, type HfView } from "../../views/as-hf.ts";
import { checkBytes, valueFaults } from "../../views/checks.ts";
import { type Difference, sourceDifferences, valueDifference } from "../../views/difference.ts";
import type { Steps } from "../../views/identity/hash.ts";
import { notCheckedNote } from "../not-checked.ts";
import { checksOf } from "./checks.ts";
import { type ConfigMatch, compareConfig } from "./compare-config.ts";
import { compareStored, type StoredComparison } from "./compare-stored.ts";
import { type Compared, compareTensors } from "./compare-tensors.ts";
import { roundingOf } from "./rounding-of.ts";
import { bytesOf, tiesOf } from "./seal.ts";
import type { Seal } from "./seal-data.ts";

/** The JSON document of `match` (CONTRACT). */
export interface Match {
  readonly verdict: "pass" | "fail";
  readonly path: string;
  readonly family: string | null;
  readonly layout: string | null;
  readonly format: Format;
  /** Over the checkpoint's tensors, in hex, as the seal counts them: an alias that one of them stores is no difference. */
  readonly root: string;
  readonly expectedRoot: string;
  /** That both have. */
  readonly tensors: number;
  readonly bytes: number;
  readonly differences: readonly Difference[];
  readonly config: ConfigMatch;
  readonly checks: readonly Check[];
  readonly notes: readonly string[];
  readonly seconds: number;
}

export type MatchOptions = ModelOptions & StepOptions;

/**
 * A checkpoint without a config is read with that of the seal. What is wrong with the checkpoint is a difference; what keeps
 * it from being read is thrown.
 */
export async function match(checkpoint: Checkpoint, seal: Seal, options: MatchOptions): Promise<Match> {
  checkArgument("match", "Checkpoint", checkpoint);
  checkAdapters("match", options);
  const begin = performance.now();
  const found =
    seal.view === "raw" ? await matchRaw(checkpoint, seal, options) : await matchHf(checkpoint, seal, options);
  const { compared, stored, config, model, notes } = found;
  const differences = [...compared.differences, ...stored.differences];
  const isSame = differences.length === 0 && (config.differences ?? []).length === 0;
  return {
    verdict: isSame ? "pass" : "fail",
    path: checkpoint.path,
    family: model?.adapter.family ?? null,
    layout: model?.layout.name ?? null,
    format: checkpoint.format,
    root: compared.root,
    expectedRoot: seal.root,
    tensors: compared.tensors,
    bytes: found.bytes,
    differences,
    config,
    checks: checksOf(differences, config, stored),
    notes: [...notes, ...compared.notes, ...hashNotes(config), ...notCheckedNote(checkpoint)],
    seconds: (performance.now() - begin) / 1e3,
  };
}

interface Found {
  readonly compared: Compared;
  readonly stored: StoredComparison;
  readonly config: ConfigMatch;
  readonly model: Model | null;
  readonly bytes: number;
  readonly notes: readonly string[];
}

async function matchHf(checkpoint: Checkpoint, seal: Seal, options: MatchOptions): Promise<Found> {
  const isSeals = seal.config !== null && configuredAs(checkpoint, options).config === null;
  const given = isSeals ? { config: textAt("the seal", "config.json", JSON.stringify(seal.config?.json)) } : {};
  const model = openModel(checkpoint, { ...options, ...given });
  const view = decodedLike(asHf(model, { tolerate: true }), seal);
  const { mapping } = view;
  function* work(): Steps<Pick<Found, "compared" | "stored">> {
    const faults = sourceDifferences(mapping).filter(({ kind }) => kind !== "missing");
    const all = [...faults, ...(yield* valueFaults(mapping)).map(valueDifference)];
    const own = { ties: tiesOf(model), faults: all, stored: model.source };
    const compared = yield* compareTensors(view.source, seal, own);
    return { compared, stored: yield* compareStored(model, seal) };
  }
  const bytes = bytesOf(view.source);
  const done = await runSteps(work(), "hashing", bytes + checkBytes(mapping), options);
  checkpoint.verify(model.stored.keys);
  return {
    ...done,
    config: isSeals
      ? notCompared(seal, "the checkpoint has no config of its own: it was read with the seal's")
      : compareConfig(model, seal, options.adapters),
    model,
    bytes,
    notes: [...model.stored.notes, ...castNotes(model, seal, done.compared)],
  };
}

/** Encoded tensors in F32 where the seal has them so: a trainer that loads FP8 into f32 rounds nothing. */
function decodedLike(view: HfView, { tensors }: Seal): HfView {
  const wide = new Set(tensors.filter(({ dtype }) => dtype === "F32").map(({ name }) => name));
  const encoded = [...view.source.tensors.values()].filter(
    ({ key, encoding }) => encoding !== undefined && wide.has(key),
  );
  const keys = encoded.flatMap(({ key }) => view.origins.get(key) ?? [key]);
  return keys.length === 0 ? view : view.widened(new Set(keys));
}

/** What a cast is of cannot be told from hashes; a record can tell it. */
function castNotes(model: Model, seal: Seal, { differences, ownRoot }: Compared): string[] {
  if (!differences.some(({ kind }) => kind === "dtype")) return [];
  const { of, notes } = roundingOf(model.stored.record(), ownRoot);
  if (of !== null) {
    const same = of.root === seal.root ? "the model of this seal" : `another model than this seal's, root ${of.root}`;
    return [`its record says that it is ${same}, cast to ${of.dtypes.join(", ")}; hashes alone cannot tell`];
  }
  const theirs = seal.roundingOf;
  if (theirs !== null && theirs.root === ownRoot) return ["the model of this seal is this one, cast: the seal says so"];
  return [...notes, "whether one is the rounding of the other cannot be told from hashes, and no record tells it"];
}

/** Two hashes of one mathematics look like two models. */
const hashNotes = ({ sha256, expected, differences }: ConfigMatch): string[] =>
  differences?.length === 0 && expected !== null && sha256 !== expected
    ? [
        "the hash of the seal's config was made by another version of this tool: this one finds both configs to be the same",
      ]
    : [];

const notCompared = (seal: Seal, reason: string): ConfigMatch => ({
  sha256: null,
  expected: seal.config?.sha256 ?? null,
  differences: null,
  reason,
});

async function matchRaw(checkpoint: Checkpoint, seal: Seal, options: StepOptions): Promise<Found> {
  const own = { ties: {}, faults: [], stored: checkpoint };
  const compared = await runSteps(compareTensors(checkpoint, seal, own), "hashing", bytesOf(checkpoint), options);
  checkpoint.verify();
  return {
    compared,
    stored: { differences: [], reason: null, status: "none" },
    config: notCompared(seal, "the seal is of no known family, and has none"),
    model: null,
    bytes: bytesOf(checkpoint),
    notes: ["compared by the names and shapes of the files: the seal is of no known family"],
  };
}

// One checkpoint on its own: complete, finite, initialised, consistent, as far as that shows without running it.

import type { Check } from "../base/check.ts";
import { torchName } from "../base/dtype.ts";
import type { InputError } from "../base/errors.ts";
import { isFloat } from "../base/floats.ts";
import { runSteps, type StepOptions } from "../base/steps.ts";
import { Xxh64 } from "../base/xxh64/xxh64.ts";
import { commonFloat } from "../convert/companions.ts";
import type { Format } from "../formats/checkpoint.ts";
import { checkArgument } from "../model/argument-kinds.ts";
import { contradictionsIn } from "../model/configs/configured.ts";
import { encodingFault } from "../model/configs/stored-as.ts";
import { customCodeIn } from "../model/custom-code.ts";
import type { Model } from "../model/model.ts";
import { missingCode } from "../model/side-files.ts";
import { paddingFaults } from "../model/tensors/padding.ts";
import { asHf } from "../views/as-hf.ts";
import { valueFaults } from "../views/checks.ts";
import { absentPart, type Difference, sourceDifferences, valueDifference } from "../views/difference.ts";
import type { Mapping } from "../views/mapping.ts";
import { type Judged, judgeValues, type Scanned } from "../views/values/implausible.ts";
import { scan } from "../views/values/scan.ts";
import { loading } from "./loads.ts";
import { checksumChecks, notCheckedNote } from "./not-checked.ts";
import { upstreamNotes } from "./upstream-notes.ts";

/** The JSON document of `validate` (CONTRACT). */
export interface Validation {
  readonly verdict: "pass" | "fail";
  readonly path: string;
  readonly format: Format;
  readonly family: string;
  readonly layout: string;
  readonly tensors: number;
  readonly bytes: number;
  /** What was looked at; `failed` tells how many findings there are. */
  readonly checks: readonly (Check & { readonly failed: number })[];
  readonly differences: readonly Difference[];
  readonly notes: readonly string[];
  readonly seconds: number;
}

const CHECKS: Readonly<Record<string, readonly Difference["kind"][]>> = {
  "complete: every tensor of the family, no other": ["missing", "extra"],
  "the config says each thing once": ["config"],
  "shapes as the config gives them": ["shape"],
  "weights are floating-point numbers": ["dtype"],
  "stored as the config's quantization_config says": ["encoding"],
  "ties hold": ["tie"],
  "buffers that the other side lacks have their defaults": ["dropped"],
  "no NaN, no infinity": ["nan", "infinite"],
  "initialised: no constant matrix, no norm of zeros, nothing but subnormal values": ["zero", "constant", "subnormal"],
  "no share of memory that nothing was written to": ["implausible", "untouched"],
  "no tensor twice": ["repeated"],
  "code of the model's own that configs name is there": ["file"],
};

/** Of Hugging Face's layout, in the containers that transformers reads. */
const LOADING: typeof CHECKS = {
  "transformers finds the weights: names of files and of tensors": ["unloadable"],
  "token ids of configs and tokenizer are rows of the embedding": ["id"],
};

/** Throws InputError where the container is damaged (CRC) or cannot be read. */
export async function validate(model: Model, options: StepOptions = {}): Promise<Validation> {
  checkArgument("validate", "Model", model);
  const begin = performance.now();
  const tensors = [...model.source.tensors.values()];
  const bytes = tensors.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const found = await runSteps(findFaults(model, Xxh64.alone()), "reading", bytes, options);
  const loads = loading(model);
  const differences = [...found.differences, ...(loads?.differences ?? [])];
  model.checkpoint.verify(model.stored.keys);
  return {
    verdict: differences.length === 0 ? "pass" : "fail",
    path: model.checkpoint.path,
    format: model.checkpoint.format,
    family: model.adapter.family,
    layout: model.layout.name,
    tensors: tensors.length,
    bytes,
    checks: [
      // What is wrong with it ends the run with an error.
      checkOf("container: headers, sizes, index and checksums", 0),
      ...checksumChecks(model.checkpoint),
      ...Object.entries(loads === null ? CHECKS : { ...CHECKS, ...LOADING }).map(([name, kinds]) =>
        checkOf(name, differences.filter(({ kind }) => kinds.includes(kind)).length),
      ),
      ...paddingCheck(model, differences.filter(({ kind }) => kind === "padding").length),
    ],
    differences,
    notes: [
      ...model.stored.notes,
      ...notesOf(model),
      ...upstreamNotes(model),
      ...found.notes,
      ...(loads?.notes ?? []),
      ...notCheckedNote(model.checkpoint),
    ],
    seconds: (performance.now() - begin) / 1e3,
  };
}

const checkOf = (name: string, failed: number): Validation["checks"][number] =>
  failed === 0
    ? { name, status: "passed", failed }
    : { name, status: "failed", detail: `${failed} ${failed === 1 ? "finding" : "findings"}`, failed };

const PADDING = "rows behind the vocabulary hold nothing that was learnt";

/** Of layouts that pad it. */
function paddingCheck({ layout, stored }: Model, failed: number): Validation["checks"] {
  const { padding = [], vocabularyUntold } = stored;
  if (vocabularyUntold !== undefined)
    return [{ name: PADDING, status: "not checked", detail: vocabularyUntold, failed: 0 }];
  return layout.side === "native" && padding.length > 0 ? [checkOf(PADDING, failed)] : [];
}

function encodingDifferences(model: Model): Difference[] {
  const fault = encodingFault(model);
  return fault === null ? [] : [{ key: "quantization_config", kind: "encoding", detail: fault.message }];
}

function* findFaults(model: Model, hasher: Xxh64): Generator<number, Judged, void> {
  const { mapping } = asHf(model, { tolerate: true });
  const faults = sourceDifferences(mapping);
  const found = [...encodingDifferences(model), ...faults, ...(yield* valueFaults(mapping)).map(valueDifference)];
  const unknown = new Set(faults.filter(({ kind }) => kind === "extra").map(({ key }) => key));
  const names = hfNames(mapping);
  const aliases = new Set(mapping.equalities.map(({ alias }) => alias));
  const scanned: Scanned[] = [];
  for (const info of model.source.tensors.values()) {
    const { dtype, key } = info;
    if (!isFloat(dtype) || unknown.has(key)) continue;
    hasher.reset();
    const found = yield* scan(model.source, info, dtype, hasher);
    scanned.push({
      info,
      hfKey: names.get(key) ?? key,
      scan: found,
      ...(aliases.has(key) ? {} : { hash: hasher.digest() }),
    });
  }
  const { differences, notes } = judgeValues(scanned, model.family.centredNorms);
  const { folder } = model.checkpoint;
  const { missing } = customCodeIn(folder, folder.list());
  const files = missing.map((each) => ({ key: each.file, kind: "file", detail: missingCode(each) }) as const);
  const said = contradictionsIn(model.stored.config).map(
    ({ field, message }) => ({ key: field, kind: "config", detail: message }) as const,
  );
  const absent = (mapping.absent ?? []).map(absentPart);
  const padding = (yield* paddingFaults(model.stored.padding ?? [])).map(paddingDifference);
  return { differences: [...said, ...found, ...padding, ...differences, ...files], notes: [...absent, ...notes] };
}

const paddingDifference = ({ message, details }: InputError): Difference => ({
  key: details.tensor ?? "",
  kind: "padding",
  detail: `${message}: ${details.found ?? ""}`,
});

/** The HF key of each tensor of the source; of one that several are made of, the first. */
function hfNames({ from, tensors, spelling }: Mapping): ReadonlyMap<string, string> {
  if (from.side === "hf") return new Map([...spelling].map(([key, spelled]) => [spelled, key]));
  return new Map([...tensors].toReversed().flatMap(([key, { sources }]) => sources.map((source) => [source, key])));
}

/** transformers loads weights as the dtype that the config declares, rounding them without a word. */
function notesOf({ family, layout, source }: Model): string[] {
  const dtype = commonFloat([...source.tensors.values()].map((info) => info.dtype));
  const name = dtype === null ? undefined : torchName(dtype);
  if (layout.side !== "hf" || name === undefined || family.dtype === null || family.dtype === name) return [];
  return [`the config declares ${family.dtype}, the weights are ${name}: transformers loads them as ${family.dtype}`];
}

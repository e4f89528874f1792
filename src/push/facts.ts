// What is known of a checkpoint before its card is written: what it is, its seal, and which reports are about it.
import { createHash } from "node:crypto";
import { InputError } from "../base/errors.ts";
import { isJsonObject } from "../base/json.ts";
import type { StepOptions } from "../base/steps.ts";
import { mathematicsHash } from "../family/mathematics.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { isConfigName } from "../formats/file-names.ts";
import { CONFIG_LIMIT, readText } from "../formats/io/folder.ts";
import { SourceBlob } from "../hub/upload/source-blob.ts";
import { type Model, type ModelOptions, openModel } from "../model/model.ts";
import { seal } from "../verify/identity/seal.ts";
import type { CardModel, CardSeal } from "./card/model.ts";
import { bindAll, type Evidence, isConversionOf } from "./evidence/bind.ts";
import type { Report } from "./evidence/report.ts";

export interface FactsOptions extends ModelOptions, StepOptions {
  readonly reports: readonly Report[];
  /** SHA-256 of files that are known already, by name. */
  readonly hashes?: ReadonlyMap<string, string>;
  /** Whether to find the seal where no report of the conversion tells it. */
  readonly seal: boolean;
}

export interface Facts {
  readonly model: CardModel;
  readonly evidence: readonly Evidence[];
  readonly notes: readonly string[];
}

/** Throws InputError EVIDENCE_FOREIGN, what sealing throws, and FILE_CHANGED. */
export async function factsOf(checkpoint: Checkpoint, options: FactsOptions): Promise<Facts> {
  const { reports } = options;
  const opened = modelOrNone(checkpoint, options);
  const weights = reports.length === 0 ? new Map<string, string>() : await hashesOf(checkpoint, options);
  const conversion = reports.find((report) => isConversionOf(report, { weights }));
  const told = conversion === undefined ? null : sealTold(conversion);
  const found = told === null && options.seal && opened.reason === null ? await seal(checkpoint, options) : null;
  const own = told ?? sealOf(found);
  const evidence = bindAll(reports, {
    path: checkpoint.path,
    weights,
    config: configHash(checkpoint),
    root: own?.root ?? null,
    mathematics: opened.model === null ? null : mathematicsHash(opened.model.family),
  });
  const tensors = [...(opened.model?.source ?? checkpoint).tensors.values()];
  return {
    model: {
      name: lastName(checkpoint.folder.path),
      family: opened.model?.adapter.family ?? null,
      layout: opened.model?.layout.name ?? null,
      format: checkpoint.format,
      tensors: tensors.length,
      bytes: tensors.reduce((sum, { byteLength }) => sum + byteLength, 0),
      seal: own,
      record: recordOf(opened.model, own),
    },
    evidence,
    notes: [...(opened.reason === null ? [] : [`no seal: ${opened.reason}`]), ...(found?.notes ?? [])],
  };
}

interface Opened {
  readonly model: Model | null;
  /** Why it has no seal, in words; null where it can have one. */
  readonly reason: string | null;
}

/** A family that is not known has a seal by its own names; a model without its config has none. */
function modelOrNone(checkpoint: Checkpoint, options: ModelOptions): Opened {
  try {
    return { model: openModel(checkpoint, options), reason: null };
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    if (error.code === "UNKNOWN_FAMILY") return { model: null, reason: null };
    if (error.code === "CONFIG_MISSING") return { model: null, reason: error.message };
    throw error;
  }
}

/** Throws InputError FILE_CHANGED. */
async function hashesOf(
  { folder, files }: Checkpoint,
  { signal, onProgress, hashes: known }: FactsOptions,
): Promise<Map<string, string>> {
  const weights = files.filter(isWeights);
  const hashes = new Map([...(known ?? [])].filter(([name]) => weights.includes(name)));
  const opened = weights.filter((name) => !hashes.has(name)).map((name) => ({ name, source: folder.open(name) }));
  const total = opened.reduce((sum, { source }) => sum + source.byteLength, 0);
  let done = 0;
  const onRead = (bytes: number) => {
    done += bytes;
    onProgress?.({ label: "hashing", done, total });
  };
  try {
    for (const { name, source } of opened) {
      hashes.set(name, await SourceBlob.of(source, onRead).hash("sha256", "", signal));
    }
  } finally {
    for (const { source } of opened) source.close();
  }
  return hashes;
}

/** What no checkpoint is without: its index alone says nothing of its values. */
const isWeights = (name: string): boolean => !name.endsWith(".json");

const sealOf = (found: Awaited<ReturnType<typeof seal>> | null): CardSeal | null =>
  found === null
    ? null
    : { root: found.seal.root, config: found.seal.config?.sha256 ?? null, roundingOf: found.seal.roundingOf };

/** A record tells of the weights that it was written with: their root is in it. */
function recordOf(model: Model | null, own: CardSeal | null): CardModel["record"] {
  const record = model?.stored.record() ?? null;
  if (record === null || own === null || record.seal?.root !== own.root) return null;
  const { layout, format, source = null } = record.from;
  return { layout, format, source };
}

/** Of a report of the conversion that wrote these very files. */
function sealTold({ runs, json }: Report): CardSeal | null {
  const [root] = runs.flatMap((run) => [...run.roots]);
  const told = isJsonObject(json.seal) ? json.seal : {};
  if (root === undefined) return null;
  const { roundingOf: of } = told;
  const roundingOf =
    isJsonObject(of) && typeof of.root === "string" && Array.isArray(of.dtypes)
      ? { root: of.root, dtypes: of.dtypes.filter((dtype) => typeof dtype === "string") }
      : null;
  return { root, config: typeof told.config === "string" ? told.config : null, roundingOf };
}

function configHash({ folder }: Checkpoint): string | null {
  const name = folder.list().find(isConfigName);
  return name === undefined
    ? null
    : createHash("sha256")
        .update(readText(folder, name, CONFIG_LIMIT))
        .digest("hex");
}

const lastName = (path: string): string =>
  path.split(/[\\/]/).findLast((part) => part !== "" && part !== ".") ?? "model";

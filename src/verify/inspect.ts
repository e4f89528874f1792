// What a path holds: format, family, layout, tensors, and what is wrong with them as far as headers show it.
import type { Dtype } from "../base/dtype.ts";
import { elementCount } from "../base/dtype.ts";
import { type ConvertCheckpointError, InputError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import type { Checkpoint, Format } from "../formats/checkpoint.ts";
import { shardAlone } from "../formats/shard-alone.ts";
import { checkAdapters, checkArgument } from "../model/argument-kinds.ts";
import { configuredAs, contradictionsIn, NO_CONFIG } from "../model/configs/configured.ts";
import { encodingFault } from "../model/configs/stored-as.ts";
import { hiddenTensors } from "../model/hidden.ts";
import { leftAlone } from "../model/keys.ts";
import { logicalCheckpoint } from "../model/logical.ts";
import {
  identifiedAs,
  type Model,
  type ModelOptions,
  modelOf,
  quantisationIn,
  recogniseAll,
  refuseUnread,
} from "../model/model.ts";
import { configAbove } from "../model/not-there.ts";
import { paddingNotes } from "../model/tensors/padding.ts";
import { errorOf } from "../table/faults/problems.ts";
import { absentPart } from "../views/difference.ts";
import { directionFrom } from "../views/mapping.ts";
import { notCheckedNote } from "./not-checked.ts";

/** Something a conversion would stop at, or ought to know. */
export interface Problem {
  readonly code: string;
  readonly message: string;
  readonly tensor?: string;
  readonly help: string;
}

export interface Inspection {
  readonly path: string;
  readonly format: Format;
  /** Null where the keys are of no known family. */
  readonly family: string | null;
  readonly layout: string | null;
  /** What stands before the model's keys, e.g. `model.`. */
  readonly prefix: string;
  readonly config: string | null;
  /** Files that hold tensors: shards of safetensors, ranks of DCP. */
  readonly weightFiles: readonly string[];
  /** Ranks that saved a DCP checkpoint or whose shards the files are; null for others. */
  readonly ranks: number | null;
  /** Elements of the model's tensors; of all where the family is unknown. */
  readonly parameters: number;
  readonly bytes: number;
  /** Number of tensors by dtype. */
  readonly dtypes: Readonly<Partial<Record<Dtype, number>>>;
  readonly tensors: readonly {
    readonly key: string;
    readonly dtype: Dtype;
    readonly shape: readonly number[];
    readonly bytes: number;
  }[];
  /** Trainer state, and entries that are no tensors. */
  readonly others: readonly { readonly key: string; readonly reason: string }[];
  /** Where the weights are in codes that are not read here: the method, and the family that the config names. */
  readonly quantised?: { readonly method: string; readonly family: string | null };
  readonly problems: readonly Problem[];
  /** Which config was taken, and as whose; how the keys are read: where that is not plain to see. */
  readonly notes: readonly string[];
}

/** From headers alone. What is wrong with the model is among the problems; nothing of it is thrown. */
export function inspect(checkpoint: Checkpoint, options: ModelOptions): Inspection {
  checkArgument("inspect", "Checkpoint", checkpoint);
  checkAdapters("inspect", options);
  const problems: Problem[] = [];
  const attempt = <T>(work: () => T): T | null => {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      problems.push(problemOf(error));
      return null;
    }
  };
  const configured = attempt(() => configuredAs(checkpoint, options)) ?? NO_CONFIG;
  const { config, foreign, json } = configured;
  const isRead = attempt(() => refuseUnread(checkpoint, json)) !== null;
  const method = isRead ? null : quantisationIn(checkpoint, json);
  const stored = { checkpoint, encoded: new Map() };
  const logical = (isRead && attempt(() => logicalCheckpoint(checkpoint, json))) || stored;
  const recognised = isRead ? attempt(() => recogniseAll(logical.checkpoint, json, options)) : null;
  // The arguments of a run may be a config, too.
  const mayHaveOne = config !== null || foreign !== null || recognised?.layout.configOf !== undefined;
  const isKnown = recognised !== null && mayHaveOne;
  const model = isKnown ? attempt(() => modelOf(identifiedAs(recognised, checkpoint, configured, logical))) : null;
  if (config !== null) problems.push(...contradictionsIn(config).map(({ field: _, ...problem }) => problem));
  if (model !== null) {
    problems.push(...(attempt(() => tableProblems(model)) ?? []));
    const fault = encodingFault(model);
    if (fault !== null) problems.push(problemOf(fault));
  } else if (recognised !== null && problems.length === 0) {
    problems.push({
      code: "CONFIG_MISSING",
      message: "no config.json beside the checkpoint: it cannot be converted without one",
      help: `give it with --config ${configAbove(checkpoint.folder) ?? "PATH"}`,
    });
  }
  attempt(() => checkpoint.sample?.());
  const alone = shardAlone(checkpoint);
  if (alone !== null) problems.push(problemOf(alone));
  problems.push(...hiddenTensors(checkpoint).map(problemOf), ...containerProblems(checkpoint));
  return {
    path: checkpoint.path,
    format: checkpoint.format,
    family: recognised?.adapter.family ?? null,
    layout: recognised?.layout.name ?? null,
    prefix: recognised?.keys.prefix ?? "",
    config: config?.path ?? model?.stored.config.path ?? null,
    ...(method === null ? {} : { quantised: { method, family: familyOf(json, options) } }),
    ...contentOf(checkpoint.ranks === undefined ? checkpoint : joined(checkpoint, model)),
    problems,
    notes: [...configured.notes, ...(recognised?.keys.notes ?? []), ...absentNotes(model), ...paddingNotesOf(model)],
  };
}

const familyOf = (json: JsonObject | null, { adapters, family }: ModelOptions): string | null =>
  family ?? adapters.find(({ modelTypes }) => modelTypes.some((type) => type === json?.model_type))?.family ?? null;

/** Shards as the tensors that they are parts of; where that is not known, those of the first rank. */
const joined = (checkpoint: Checkpoint, model: Model | null): Checkpoint => ({
  ...checkpoint,
  tensors: (model?.source ?? checkpoint).tensors,
});

function contentOf(checkpoint: Checkpoint) {
  const others = leftAlone(checkpoint);
  const apart = new Set(others.map(({ key }) => key));
  const tensors = [...checkpoint.tensors.values()];
  const model = tensors.filter(({ key }) => !apart.has(key));
  const dtypes: Partial<Record<Dtype, number>> = {};
  for (const { dtype } of tensors) dtypes[dtype] = (dtypes[dtype] ?? 0) + 1;
  const files = filesOf(checkpoint);
  const dcpRanks = checkpoint.format === "dcp" ? new Set(files.map((name) => name.split("_").at(-2))).size : null;
  return {
    weightFiles: files,
    ranks: checkpoint.ranks?.length ?? checkpoint.savedBy ?? dcpRanks,
    parameters: model.reduce((sum, { shape }) => sum + elementCount(shape), 0),
    bytes: tensors.reduce((sum, { byteLength }) => sum + byteLength, 0),
    dtypes,
    tensors: tensors.map(({ key, dtype, shape, byteLength }) => ({ key, dtype, shape, bytes: byteLength })),
    others,
  };
}

function problemOf({ code, message, details }: ConvertCheckpointError): Problem {
  return { code, message, help: details.help, ...(details.tensor === undefined ? {} : { tensor: details.tensor }) };
}

/** What a conversion would stop at: the first fault, which tells how many more there are of its kind. */
function tableProblems({ table, layout, source }: Model): Problem[] {
  const faults = table.check(directionFrom(layout), source.tensors);
  return faults.slice(0, 1).map((fault) => problemOf(errorOf(fault, faults)));
}

/** Headers do not tell what rows behind the vocabulary hold. */
function paddingNotesOf(model: Model | null): string[] {
  const { padding = [], vocabularyUntold } = model?.stored ?? {};
  const untold =
    vocabularyUntold === undefined ? [] : [`not checked, how many rows are the vocabulary's: ${vocabularyUntold}`];
  const unread = "not checked, what these rows hold: `validate` and `convert` look at them";
  return [...paddingNotes(padding), ...(padding.some(({ told }) => !told) ? [unread] : []), ...untold];
}

/** What the config describes and files may lack. */
function absentNotes(model: Model | null): string[] {
  if (model === null) return [];
  try {
    return model.table.absent(directionFrom(model.layout), model.source.tensors).map(absentPart);
  } catch (error) {
    // It is among the problems.
    if (error instanceof InputError) return [];
    throw error;
  }
}

function containerProblems(checkpoint: Checkpoint): Problem[] {
  const headers = (checkpoint.safetensors?.files ?? [])
    .filter(({ canonical }) => !canonical)
    .map(({ name }) => ({
      code: "HEADER_NOT_CANONICAL",
      message: `${name}: its header is valid, but not as the official library writes it`,
      help: "nothing to do: it is read, and a conversion's record brings the same bytes back",
    }));
  const checksums = notCheckedNote(checkpoint).map((message) => ({
    code: "NO_CHECKSUMS",
    message,
    help: "nothing to do: it is read; compare its hash with the sender's where you can",
  }));
  return [...headers, ...checksums];
}

function filesOf({ format, path, folder, files, safetensors, ranks }: Checkpoint): readonly string[] {
  if (ranks !== undefined) return files;
  if (safetensors !== undefined) return safetensors.files.map(({ name }) => name);
  if (format === "pt" && files.length === 1) return [path];
  if (format !== "dcp") return files;
  return folder
    .list()
    .filter((name) => name.endsWith(".distcp"))
    .toSorted((a, b) => a.localeCompare(b, "en", { numeric: true }));
}

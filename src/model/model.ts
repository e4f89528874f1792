// A checkpoint opened into a model: what it is, its tensors by the keys of its layout, and where they are stored.
import { InputError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import { witness } from "../base/witness.ts";
import type { EncodedTensor } from "../encodings/encoding.ts";
import type { Adapter } from "../family/adapter.ts";
import { bound, type Family, tableLayout } from "../family/family.ts";
import type { Layout } from "../family/layout.ts";
import { mathematicsHash } from "../family/mathematics.ts";
import { foreignLayout, refuseForeign } from "../foreign/foreign.ts";
import { quantisedBy } from "../foreign/quantised.ts";
import type { Checkpoint, RunArguments, SafetensorsOrigin } from "../formats/checkpoint.ts";
import { refuseShardAlone } from "../formats/shard-alone.ts";
import { tableOf, type ViewedModel } from "../views/tables.ts";
import { checkAdapters, checkArgument } from "./argument-kinds.ts";
import type { ConfigFile } from "./configs/config-files.ts";
import { type ConfigOptions, type ConfiguredAs, configUnknown, configuredAs } from "./configs/configured.ts";
import { againstRun, type RunOf, runOf } from "./configs/run-config.ts";
import { refuseHidden } from "./hidden.ts";
import { modelSource } from "./joined.ts";
import { renamedCheckpoint } from "./keys/renamed.ts";
import { modelTensors } from "./keys.ts";
import { type Logical, logicalCheckpoint, storedKeysOf } from "./logical.ts";
import { configAbove } from "./not-there.ts";
import { type Recognised, type RecogniseOptions, recognise } from "./recognise.ts";
import { type ConversionRecord, recordIn } from "./record.ts";
import { cutRows, type Padding, paddingNotes, paddingOf } from "./tensors/padding.ts";

export interface ModelOptions extends RecogniseOptions, ConfigOptions {}

/** What the files have beside and around the model's tensors. */
export interface Stored {
  readonly config: ConfigFile;
  /** Key as the layout spells it → key in the files, of tensors that these spell otherwise, codes and scales among them. */
  readonly names: ReadonlyMap<string, string>;
  /** Which config was taken, and as whose; how the files spell the keys: where that is not plain to see. For reports. */
  readonly notes: readonly string[];
  /** Rows behind the vocabulary, which the model's tensors come without. */
  readonly padding?: readonly Padding[];
  /** Why nothing tells how many rows are the vocabulary's, in a layout that pads them; absent where it is told, or none are padded. */
  readonly vocabularyUntold?: string;
  /** Files of the checkpoint, by the keys in them, where it is safetensors. */
  readonly safetensors: SafetensorsOrigin | null;
  /** Key of the layout → key in the checkpoint, of every tensor of the model. */
  readonly placed: ReadonlyMap<string, string>;
  /** Keys of the model's tensors in the checkpoint. Codes and scales stand in place of the tensors that they encode. */
  readonly keys: readonly string[];
  /** Of the conversion that made the checkpoint; null where there is none. Throws what reading it throws. */
  readonly record: () => ConversionRecord | null;
}

/** A checkpoint whose family, layout and config are known. */
export interface Model extends ViewedModel {
  /** Under the keys of the layout; trainer state keeps its own. */
  readonly checkpoint: Checkpoint;
  readonly adapter: Adapter;
  /** Tensors that are stored encoded, by the keys of the layout. */
  readonly encoded: ReadonlyMap<string, EncodedTensor>;
  readonly stored: Stored;
}

/** A checkpoint whose family and layout are known. */
export interface Identified extends Pick<Stored, "names" | "safetensors"> {
  /** Under the keys of the layout; trainer state keeps its own. */
  readonly checkpoint: Checkpoint;
  readonly configured: ConfiguredAs;
  readonly logical: Logical;
  readonly recognised: Recognised;
  /** Arguments of the run that saved it. Throws InputError. */
  readonly run: () => RunArguments | null;
}

/** Throws what finding the config, decoding and `recognise` throw. */
export function identify(checkpoint: Checkpoint, options: ModelOptions): Identified {
  const configured = configuredAs(checkpoint, options);
  refuseUnread(checkpoint, configured.json);
  const logical = logicalCheckpoint(checkpoint, configured.json);
  return identifiedAs(recogniseAll(logical.checkpoint, configured.json, options), checkpoint, configured, logical);
}

/** Throws InputError for weights of a kind that is known and not read: quantised, unmerged, partitioned. */
export function refuseUnread(checkpoint: Checkpoint, config: JsonObject | null): void {
  refuseForeign(checkpoint, modelTensors(checkpoint), config);
}

/** The method, in words, of weights in codes that are not read here; null for others. */
export function quantisationIn(checkpoint: Checkpoint, config: JsonObject | null): string | null {
  return quantisedBy(modelTensors(checkpoint), config)?.method ?? null;
}

/** As `recognise`, but keys of a trainer that is known and not read are called by its name. */
export function recogniseAll(checkpoint: Checkpoint, config: JsonObject | null, options: RecogniseOptions): Recognised {
  try {
    return recognise(checkpoint, config, options);
  } catch (error) {
    const isUnknown = error instanceof InputError && error.code === "UNKNOWN_FAMILY";
    throw (isUnknown ? foreignLayout(checkpoint) : null) ?? error;
  }
}

/** The checkpoint under the keys of the layout that it was recognised as. */
export function identifiedAs(
  recognised: Recognised,
  stored: Checkpoint,
  configured: ConfiguredAs,
  asStored: Logical,
): Identified {
  const { checkpoint, names } = renamedCheckpoint(stored, recognised.keys.rename);
  const logical = names.size === 0 ? asStored : logicalCheckpoint(checkpoint, configured.json);
  const { model } = recognised.keys;
  const keys = {
    ...recognised.keys,
    model: names.size === 0 ? model : new Map([...model.keys()].map((key) => [key, key])),
  };
  return {
    checkpoint,
    configured,
    logical,
    names,
    safetensors: stored.safetensors ?? null,
    run: () => stored.run?.() ?? null,
    recognised: { ...recognised, keys },
  };
}

/**
 * Reads headers and config; a table is compiled when it is first asked for.
 * Throws InputError CONFIG_MISSING, CONFIG_UNKNOWN, NO_MODEL, UNKNOWN_FAMILY, AMBIGUOUS_LAYOUT, RANK_ALONE, RANKS_UNKNOWN or what the config's
 * fields call for.
 */
export function openModel(checkpoint: Checkpoint, options: ModelOptions): Model {
  checkArgument("openModel", "Checkpoint", checkpoint);
  checkAdapters("openModel", options);
  refuseHidden(checkpoint);
  refuseShardAlone(checkpoint);
  return modelOf(identify(checkpoint, options));
}

/** Throws as `openModel`, but for what identifying finds. */
export function modelOf(identified: Identified): Model {
  const { checkpoint, configured, logical, names, safetensors, recognised } = identified;
  const { foreign } = configured;
  const { adapter, keys } = recognised;
  const run = runOf(identified);
  const isOfRun = configured.config === null && run.config !== null;
  const { config, json } = isOfRun ? run.config : configured;
  if (config === null || json === null)
    throw foreign ? configUnknown(foreign) : configMissing(checkpoint, adapter, run);
  const family = openFamily(identified, json, config.path);
  witness()?.config(checkpoint.path, config, () => mathematicsHash(family));
  const layout = bound(family, recognised.layout);
  const table = tableOf(tableLayout(family, layout), logical.checkpoint.tensors, { family, layout, json });
  const source = modelSource(logical.checkpoint, keys, layout, table);
  const padding = paddingOf(source, layout, run.vocabulary);
  const encoded = [...keys.model].flatMap(([key, from]) => {
    const tensor = logical.encoded.get(from);
    return tensor === undefined ? [] : [[key, tensor] as const];
  });
  let record: ConversionRecord | null | undefined;
  return {
    checkpoint,
    adapter,
    family,
    layout,
    json,
    table,
    source: cutRows(source, padding),
    encoded: new Map(encoded),
    stored: {
      config,
      names,
      notes: [
        ...configured.notes,
        ...keys.notes,
        ...run.notes,
        ...againstRun(run, config, family),
        ...paddingNotes(padding),
      ],
      padding,
      ...(isOfRun && run.isPadded && isPadded(layout) ? { vocabularyUntold: UNTOLD } : {}),
      safetensors,
      placed: keys.model,
      keys: storedKeysOf(keys.model.values(), logical.encoded),
      record() {
        if (record === undefined) record = recordIn(checkpoint.folder);
        return record;
      },
    },
  };
}

const UNTOLD =
  "the config is made of the run's arguments, whose vocabulary is the padded one: give the model's own (--config)";

const isPadded = (layout: Layout): boolean => layout.side === "native" && (layout.padded?.().size ?? 0) > 0;

/** The family at a config, which may leave sizes to the tensors. */
function openFamily({ logical, recognised: { adapter, keys } }: Identified, json: JsonObject, path: string): Family {
  const { tensors } = logical.checkpoint;
  const shapes = new Map([...keys.model].map(([key, stored]) => [key, tensors.get(stored)!.shape]));
  return adapter.open(json, path, shapes);
}

function configMissing({ path, folder }: Checkpoint, { family }: Adapter, { said }: RunOf): InputError {
  const above = configAbove(folder);
  return new InputError("CONFIG_MISSING", `${path}: no config.json beside the checkpoint`, {
    file: path,
    expected: `the config of a ${family} model`,
    ...(said === null ? {} : { found: said }),
    help: `give it with --config ${above ?? "PATH"}: ${above === undefined ? "" : "that one lies above it; or "}HF's config.json, a directory that holds one, or the trainer's model args`,
  });
}

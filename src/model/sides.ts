import { InputError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import { decodedSource } from "../encodings/decoded.ts";
import type { EncodedTensor } from "../encodings/encoding.ts";
import type { Adapter } from "../family/adapter.ts";
import { bound, type Family } from "../family/family.ts";
import type { Layout } from "../family/layout.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import type { PathOrLocation } from "../formats/io/disk-folder.ts";
import { RANK_FILE, rankFilesIn } from "../formats/pt/ranks.ts";
import { renamedSource, type TensorSource } from "../views/tensor-source.ts";
import { type ConfigFile, configIn, readConfig } from "./config-files.ts";
import { type Detected, detect } from "./detect.ts";
import { isTrainerState, type ModelKeys, modelKeyReadings } from "./keys.ts";
import { joinRanks, rankedTensors } from "./ranks.ts";
import { recordIn } from "./record.ts";

export interface SideOptions {
  readonly adapters: readonly Adapter[];
  readonly family?: string | undefined;
  readonly layout?: string | undefined;
  /** Config for a side that carries none; never overrides one that does. */
  readonly config?: PathOrLocation | undefined;
  /** Config for this side alone; overrides its own. */
  readonly ownConfig?: PathOrLocation | undefined;
}

/** A checkpoint whose family, layout and config are known. */
export interface Side {
  readonly checkpoint: Checkpoint;
  readonly config: ConfigFile;
  readonly adapter: Adapter;
  readonly family: Family;
  readonly layout: Layout;
  /** The model's tensors, by the keys of the layout. */
  readonly model: TensorSource;
  /** Keys of the model's tensors in the checkpoint. Codes and scales stand in place of the tensors that they encode. */
  readonly storedKeys: readonly string[];
  /** Tensors of the model that are stored encoded, by the keys of the layout. */
  readonly encoded: ReadonlyMap<string, EncodedTensor>;
  /** What stood before the model's keys, e.g. `model.`. */
  readonly prefix: string;
}

export interface Recognised extends Detected {
  readonly keys: ModelKeys;
}

/** The config of a side, as the options settle it; null where there is none. */
export function configOf(checkpoint: Checkpoint, { config, ownConfig }: SideOptions): ConfigFile | null {
  if (ownConfig !== undefined) return readConfig(ownConfig);
  return configIn(checkpoint.folder) ?? (config === undefined ? null : readConfig(config));
}

/** Family and layout of the model's tensors, wherever they stand. Throws what `detect` throws. */
export function recognise(checkpoint: Checkpoint, config: JsonObject | null, options: SideOptions): Recognised {
  const { adapters, family, layout } = options;
  const settled = { ...(family === undefined ? {} : { family }), ...(layout === undefined ? {} : { layout }) };
  const readings = modelKeyReadings(checkpoint);
  const evidence = {
    ranks: checkpoint.ranks !== undefined,
    recorded: () => recordIn(checkpoint.folder)?.to.layout,
  };
  let failure: unknown;
  for (const keys of readings) {
    try {
      // A family and layout that the user names are not checked against the keys, so the prefix of the keys is found
      // without them.
      const bySight = detect(adapters, keys.model, config, family === undefined ? {} : { family }, evidence);
      if (layout === undefined || bySight.layout.name === layout) return { ...bySight, keys };
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      failure ??= error;
    }
  }
  const [flat] = readings;
  if (flat === undefined) throw noModel(checkpoint);
  if (layout === undefined) throw failure;
  return { ...detect(adapters, flat.model, config, settled, evidence), keys: flat };
}

/** A checkpoint seen without its encodings. Throws what decoding finds wrong with codes and scales. */
export interface Logical {
  readonly checkpoint: Checkpoint & TensorSource;
  /** By the key in the checkpoint. */
  readonly encoded: ReadonlyMap<string, EncodedTensor>;
}

export function logicalCheckpoint(stored: Checkpoint, config: JsonObject | null): Logical {
  const decoded = stored.ranks === undefined ? decodedSource(stored, config, stored.path) : null;
  if (decoded === null) return { checkpoint: stored, encoded: new Map() };
  const { tensors, encoded, read, unrounded } = decoded;
  const { path, folder, files, format, others, safetensors } = stored;
  const checkpoint = {
    path,
    folder,
    files,
    format,
    others,
    ...(safetensors === undefined ? {} : { safetensors }),
    tensors,
    read,
    unrounded,
    verify: (keys?: Iterable<string>) => stored.verify(keys && storedKeysOf(keys, encoded)),
    close: () => stored.close(),
  };
  return { checkpoint, encoded };
}

const storedKeysOf = (keys: Iterable<string>, encoded: Logical["encoded"]): string[] =>
  [...keys].flatMap((key) => {
    const tensor = encoded.get(key);
    return tensor === undefined ? [key] : [tensor.codes, tensor.scales];
  });

/** Throws InputError CONFIG_MISSING, NO_MODEL, UNKNOWN_FAMILY, AMBIGUOUS_LAYOUT or what the config's fields call for. */
export function resolveSide(stored: Checkpoint, options: SideOptions): Side {
  const config = configOf(stored, options);
  const { checkpoint, encoded } = logicalCheckpoint(stored, config?.json ?? null);
  const { adapter, keys, ...detected } = recognise(checkpoint, config?.json ?? null, options);
  if (config === null) {
    throw new InputError("CONFIG_MISSING", `${checkpoint.path}: no config.json beside the checkpoint`, {
      file: checkpoint.path,
      expected: `the config of a ${adapter.family} model`,
      help: "give it with --config PATH: HF's config.json, a directory that holds one, or the trainer's model args",
    });
  }
  const family = openFamily(checkpoint, { adapter, keys }, config);
  const layout = bound(family, detected.layout);
  const model = modelSource(checkpoint, keys, layout);
  const storedKeys = storedKeysOf(keys.model.values(), encoded);
  const ofModel = [...keys.model].flatMap(([key, from]) => {
    const tensor = encoded.get(from);
    return tensor === undefined ? [] : [[key, tensor] as const];
  });
  return {
    checkpoint: stored,
    config,
    adapter,
    family,
    layout,
    model,
    storedKeys,
    encoded: new Map(ofModel),
    prefix: keys.prefix,
  };
}

/** The family at a config, which may leave sizes to the tensors. */
export const openFamily = (
  checkpoint: Checkpoint,
  { adapter, keys }: Pick<Recognised, "adapter" | "keys">,
  config: ConfigFile,
): Family => {
  const shapes = new Map([...keys.model].map(([key, stored]) => [key, checkpoint.tensors.get(stored)!.shape]));
  return adapter.open(config.json, config.path, shapes);
};

/**
 * The model's tensors by the keys of its layout, rank shards joined. Throws InputError RANK_ALONE for one file of several
 * ranks, RANKS_UNKNOWN for shards in a layout that has none, and what joining throws.
 */
export function modelSource(checkpoint: Checkpoint & TensorSource, keys: ModelKeys, layout: Layout): TensorSource {
  const { ranks } = checkpoint;
  if (ranks === undefined) {
    refuseLoneRank(checkpoint);
    return renamedSource(checkpoint, keys.model);
  }
  const ranked = rankedTensors(layout);
  if (ranked === null) refuseRanks(checkpoint);
  return joinRanks(ranks, keys.model, ranked ?? new Map());
}

function refuseLoneRank({ path, folder, files: [file = ""] }: Checkpoint): void {
  if (!RANK_FILE.test(file)) return;
  const ranks = rankFilesIn(folder);
  if (ranks.length < 2) return;
  throw new InputError("RANK_ALONE", `${path}: one of ${ranks.length} ranks, each of which holds a part of the model`, {
    file: path,
    expected: "all ranks",
    found: file,
    help: `give the directory, ${folder.path}`,
  });
}

/** Throws InputError RANKS_UNKNOWN for more than one rank: how they join is not known. */
export function refuseRanks({ path, files, ranks = [] }: Checkpoint): void {
  if (ranks.length < 2) return;
  throw new InputError("RANKS_UNKNOWN", `${path}: holds ${ranks.length} ranks, and how they join is not known here`, {
    file: path,
    expected: "one rank, or a layout whose table says how its ranks lie",
    found: files.join(", "),
    help: "name family and layout with --family and --layout, or give a single file with --to raw",
  });
}

/** The model alone, as a checkpoint of its own under the keys of its layout. */
export const modelCheckpoint = ({ checkpoint, model, storedKeys }: Side): Checkpoint => ({
  path: checkpoint.path,
  folder: checkpoint.folder,
  files: checkpoint.files,
  format: checkpoint.format,
  tensors: model.tensors,
  others: [],
  read: model.read,
  verify: () => checkpoint.verify(storedKeys),
  close: () => checkpoint.close(),
});

/** Entries outside the model: trainer state, and what is no tensor. */
export function leftAlone(checkpoint: Checkpoint): { readonly key: string; readonly reason: string }[] {
  const trainer = [...checkpoint.tensors.keys()].filter((key) => isTrainerState(checkpoint, key));
  return [
    ...trainer.map((key) => ({ key, reason: "trainer state" })),
    ...checkpoint.others.map(({ key }) => ({
      key,
      reason: isTrainerState(checkpoint, key) ? "trainer state" : "not a tensor",
    })),
  ];
}

function noModel(checkpoint: Checkpoint): InputError {
  const found = checkpoint.tensors.size === 0 ? "no tensors at all" : "tensors of optimizer and trainer only";
  return new InputError("NO_MODEL", `${checkpoint.path}: holds no tensors of a model`, {
    file: checkpoint.path,
    expected: "model weights",
    found,
    help: "give the checkpoint of a model; --to raw converts any other",
  });
}

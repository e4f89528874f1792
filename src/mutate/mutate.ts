// A good checkpoint written again, in the same layout and format, with a known fault in it and nothing else changed.

import { copiedFile, textFile } from "../convert/companions.ts";
import { outputFiles } from "../convert/outputs.ts";
import { producingShards } from "../convert/rank-files.ts";
import type { Made } from "../faults/kinds/kind.ts";
import type { Checkpoint, Format, TensorInfo } from "../formats/checkpoint.ts";
import { RECORD_NAME } from "../formats/file-names.ts";
import { has } from "../formats/io/folder.ts";
import type { OutputFile } from "../formats/output.ts";
import { SCALES_NAME } from "../formats/safetensors/locate.ts";
import { changedTensors, Unplaced } from "../model/edited.ts";
import { type Model, type ModelOptions, openModel } from "../model/model.ts";
import { rankedTensors } from "../model/ranks.ts";
import { sideFilesOf } from "../model/side-files.ts";
import { executeOutput, type WrittenFile } from "../output/execute.ts";
import { checkTarget } from "../output/safe-target.ts";
import { settleTarget } from "../output/staging.ts";
import { refuseOtherFile, type Target, targetAt } from "../output/target.ts";
import { asHf } from "../views/as-hf.ts";
import { mapAsIs } from "../views/mapping.ts";
import type { TensorSource } from "../views/tensor-source.ts";
import { notHere, placeOf, sampleOf, wantedFault } from "./choose.ts";
import { configText } from "./config-text.ts";

export interface MutateOptions extends ModelOptions {
  /** `NAME` or `NAME:PLACE`. */
  readonly fault: string;
  /** Of what is random in a fault; 0 unless given. */
  readonly seed?: number | undefined;
  /** Replaces a target that is a checkpoint. */
  readonly force?: boolean | undefined;
  readonly fsync?: boolean | undefined;
}

/** The JSON document of `mutate`. */
export interface Mutation {
  readonly verdict: "pass";
  readonly kind: string;
  /** What a report of the mutant has to say, as `cause.code`; null where the model computes the same. */
  readonly code: string | null;
  readonly about: string;
  readonly place: string;
  /** Hugging Face keys of tensors that are other, new or gone. */
  readonly tensors: readonly string[];
  /** Paths of fields of the config that have another value. */
  readonly fields: readonly string[];
  /** What is other, new or gone in the files, by their keys. */
  readonly stored: readonly string[];
  readonly keepsShapes: boolean;
  readonly seed: number;
  readonly from: string;
  readonly to: { readonly path: string; readonly layout: string; readonly format: Format };
  readonly files: readonly WrittenFile[];
}

/**
 * Throws UsageError FAULT_UNKNOWN, InputError FAULT_NOT_HERE for a fault that cannot be made of this checkpoint, and what
 * opening a model and writing files throw.
 */
export async function mutate(good: Checkpoint, path: string, options: MutateOptions): Promise<Mutation> {
  const wanted = wantedFault(options.fault);
  const { seed = 0, force = false } = options;
  const model = openModel(good, options);
  const view = asHf(model, { mixedDtypes: true });
  const sample = sampleOf(model, view);
  const place = placeOf(wanted, model, sample);
  const { kind } = wanted;
  const made = kind.make(sample, place, seed);
  const changed = changedTensors(model, view, made);
  if (changed instanceof Unplaced) throw notHere(kind, model, changed.why, sample);
  const overlay = overlaid(model, good, changed.source, changed.edited, changed.removed);
  const target = targetAt(path, undefined, good.format);
  const { files, shards } = planFiles(model, good, overlay.source, target, made);
  const reads = good.files.flatMap((name) => good.folder.diskPathOf(name) ?? []);
  settleTarget(target.path);
  checkTarget(target.path, { force, reads, writes: files });
  refuseOtherFile(target.path);
  const written = await executeOutput({
    files,
    produce: producingShards(shards ?? new Map(), (key, begin, end, sink) => {
      for (let at = begin; at < end; at += STEP) {
        const bytes = new Uint8Array(Math.min(STEP, end - at));
        overlay.source.read(key, at, bytes);
        sink(bytes);
      }
    }),
    force,
    reads,
    fsync: options.fsync ?? true,
    verify: () => good.verify(),
    ...(target.fileName === null ? { targetDir: target.path } : { targetFile: target.path }),
  });
  return {
    verdict: "pass",
    kind: kind.name,
    code: kind.code,
    about: kind.about,
    place,
    tensors: made.tensors,
    fields: made.fields,
    stored: overlay.touched,
    keepsShapes: kind.keepsShapes,
    seed,
    from: good.path,
    to: { path: target.path, layout: model.layout.name, format: target.format },
    files: written,
  };
}

const STEP = 1 << 20;

/** All tensors of the files, trainer state too, with those that the fault changed. */
function overlaid(
  model: Model,
  good: Checkpoint,
  changed: TensorSource,
  keys: readonly string[],
  removed: readonly string[],
): { readonly source: TensorSource; readonly touched: readonly string[] } {
  // Rank shards are cut anew: they have the keys of the layout.
  const isRanked = good.ranks !== undefined;
  const { placed, names } = model.stored;
  const nameOf = (key: string): string => {
    const own = placed.get(key) ?? key;
    return isRanked ? key : (names.get(own) ?? own);
  };
  const base: TensorSource = isRanked ? model.source : good;
  const made = new Map(keys.map((key) => [nameOf(key), key]));
  const gone = removed.map(nameOf);
  const tensors = new Map<string, TensorInfo>([...base.tensors].filter(([key]) => !gone.includes(key)));
  for (const [name, key] of made) tensors.set(name, { ...changed.tensors.get(key)!, key: name });
  return {
    source: {
      tensors: new Map([...tensors].map(([key, { encoding: _, ...info }]) => [key, info])),
      read(name, begin, target) {
        const key = made.get(name);
        if (key === undefined) base.read(name, begin, target);
        else changed.read(key, begin, target);
      },
    },
    touched: [...made.keys(), ...gone],
  };
}

/** Weights in as many files as before, and all that lies beside them. */
function planFiles(model: Model, good: Checkpoint, source: TensorSource, target: Target, made: Made) {
  const mapping = mapAsIs(source, good.paths);
  const ranked = good.ranks === undefined ? null : rankedTensors(model.layout, model.table);
  const isCast = [...source.tensors].some(([key, { dtype }]) => (good.tensors.get(key)?.dtype ?? dtype) !== dtype);
  const originals = good.safetensors === undefined ? null : { files: good.safetensors, cast: isCast };
  const metadata = originals?.files.files[0]?.metadata ?? { format: "pt" };
  const outputs = outputFiles({ mapping, ranked, target, originals, metadata }, ranksOf(good, target));
  const beside = target.fileName === null ? besideFiles(model, good, made) : [];
  return { files: [...outputs.files, ...beside], shards: outputs.shards };
}

function ranksOf({ format, files, ranks }: Checkpoint, { fileName }: Target): { readonly ranks?: number } {
  if (fileName !== null) return {};
  if (ranks !== undefined) return { ranks: ranks.length };
  return format === "dcp" ? { ranks: Math.max(1, files.filter((name) => name.endsWith(".distcp")).length) } : {};
}

/** The config with the fault, tokenizer and records as they are: a record tells of the good model. */
function besideFiles({ stored: { config } }: Model, good: Checkpoint, made: Made): OutputFile[] {
  const { along } = sideFilesOf(good.folder, good.files, config.folder);
  const records = [RECORD_NAME, SCALES_NAME].filter((name) => has(good.folder, name) && !good.files.includes(name));
  return [
    textFile(config.name, configText(config.text, made.config, made.fields)),
    ...along.filter(({ name }) => name !== config.name).map(copiedFile),
    ...records.map((name) => copiedFile({ folder: good.folder, name })),
  ];
}

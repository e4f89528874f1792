// A base with adapters merged into it, as a checkpoint like any other: the base's keys, types and files, and tensors that are
// made as they are read. What reads it, a conversion, a check, a seal, need not know.
import { elementCount } from "../base/dtype.ts";
import { InputError } from "../base/errors.ts";
import type { Checkpoint, Merged, MergedTensor, TensorInfo } from "../formats/checkpoint.ts";
import type { PathOrLocation } from "../formats/io/disk-folder.ts";
import { commitOf } from "../formats/io/folder.ts";
import { changedTensors, Unplaced } from "../model/edited.ts";
import { type Model, type ModelOptions, openModel } from "../model/model.ts";
import { asHf } from "../views/as-hf.ts";
import { DEFAULT_BUFFER_BYTES } from "../views/gather.ts";
import { castSource } from "../views/rounding.ts";
import { renamedSource, type TensorSource } from "../views/tensor-source.ts";
import { openAdapter, type PeftAdapter } from "./adapter.ts";
import { deltaSource, KEPT } from "./deltas.ts";
import { type Base, baseOf, byAlias, fitted, namesIn, placed } from "./fit.ts";
import { type Changes, Sum } from "./sum.ts";

export interface MergeOptions extends ModelOptions {
  /** As `--dtype` has it: what is to be all F32 is summed in it, and not rounded to the base's type before. */
  readonly dtype?: readonly string[] | undefined;
}

/** A base with adapters, and what of it is of use to look at closely. */
export interface MergedBase {
  readonly model: Model;
  /** In the Hugging Face view of the base: its own tensors, what is added to them, and the sums. */
  readonly base: TensorSource;
  readonly changes: Changes;
  readonly sum: Sum;
  readonly checkpoint: Checkpoint & { readonly merged: Merged };
}

/**
 * Closing it closes the adapters, and the base.
 * @throws InputError ADAPTER_… and what opening the base as a model throws
 */
export const mergeAdapters = (
  base: Checkpoint,
  adapters: readonly PathOrLocation[],
  options: MergeOptions,
): Checkpoint => mergedBase(base, adapters, options).checkpoint;

export function mergedBase(base: Checkpoint, paths: readonly PathOrLocation[], options: MergeOptions): MergedBase {
  const opened: PeftAdapter[] = [];
  try {
    for (const path of paths) opened.push(openAdapter(path));
    return mergedWith(base, opened, options);
  } catch (error) {
    for (const { checkpoint } of opened) checkpoint.close();
    throw error;
  }
}

function mergedWith(base: Checkpoint, adapters: readonly PeftAdapter[], options: MergeOptions): MergedBase {
  if (base.ranks !== undefined) throw inRanks(base);
  const model = openModel(base, options);
  const view = asHf(model, { mixedDtypes: true });
  const of = baseOf(model, view);
  const fits = adapters.map((adapter) => fittedTo(of, adapter));
  refuseTwice(adapters, fits);
  const changes = { added: fits.flatMap(({ added }) => added), replaced: fits.map(({ replaced }) => replaced) };
  const isWide = options.dtype?.some((spec) => spec.toLowerCase() === "f32") ?? false;
  const terms = isWide ? castSource(view.source, widened(view.source)) : view.source;
  const sum = new Sum(terms, changes, adapters.map(({ path }) => path).join(", "));
  const order = new Map([...view.source.tensors.keys()].map((key, i) => [key, i]));
  const tensors = fits
    .flatMap(({ tensors: own }, adapter) => own.map((each): MergedTensor => ({ ...each, adapter })))
    .toSorted((x, y) => order.get(x.key)! - order.get(y.key)! || x.adapter - y.adapter);
  const touched = [...new Set(tensors.map(({ key }) => key))];
  const changed = changedTensors(model, view, { source: sum, tensors: touched });
  if (changed instanceof Unplaced) throw unplaced(base, changed.why);
  refuseEncoded(base, model, changed.edited);
  const merged: Merged = {
    adapters: adapters.map(({ path, checkpoint, sha256, products, biases }, i) => ({
      path,
      ...commitOf(checkpoint),
      sha256,
      products: products.length + biases.length,
      replaced: fits[i]!.tensors.filter(({ kind }) => kind === "replaced").length,
    })),
    tensors,
    files: adapters.flatMap(({ checkpoint: { folder, files } }) => [
      ...files.map((name) => ({ folder, name, role: "weights" as const })),
      { folder, name: "adapter_config.json", role: "description" as const },
    ]),
    measured: (key) => sum.measured(key),
    pieces: () => sum.pieces(),
    forget: () => sum.forget(),
    notes: [...new Set(fits.flatMap(({ notes }) => notes))],
    workBytes: workBytesOf(adapters),
  };
  return {
    model,
    base: view.source,
    changes,
    sum,
    checkpoint: overlaid(base, model, changed.source, changed.edited, merged, adapters),
  };
}

/** The type that a sum is made in. */
export const widened =
  ({ tensors }: TensorSource) =>
  (key: string): "F32" | "F64" =>
    tensors.get(key)?.dtype === "F64" ? "F64" : "F32";

/** Buffers of two views and of the sum's blocks, and the factors that are kept, as they are stored and in F32. */
function workBytesOf(adapters: readonly PeftAdapter[]): number {
  const factors = adapters.flatMap(({ products }) =>
    products.map(({ pair: { a, b } }) => 2 * 4 * (elementCount(a.shape) + elementCount(b.shape))),
  );
  return 4 * DEFAULT_BUFFER_BYTES + KEPT * adapters.length * Math.max(0, ...factors);
}

interface Fitted {
  readonly added: readonly TensorSource[];
  readonly replaced: TensorSource;
  readonly tensors: readonly Omit<MergedTensor, "adapter">[];
  readonly notes: readonly string[];
}

function fittedTo(base: Base, { checkpoint, products, biases, replaced, copies }: PeftAdapter): Fitted {
  const targets = [...products.map(({ target }) => target), ...biases.map(({ target }) => target)];
  const names = namesIn(base, checkpoint, [...new Set([...targets, ...replaced.keys()])]);
  const named = <T extends { readonly target: string }>(all: readonly T[]): T[] =>
    all.map((each) => ({ ...each, target: names.get(each.target)! }));
  const own = fitted(base, checkpoint, named(products));
  const layers = byAlias(base, [...own, ...named(biases)]).map((changes) => {
    const source = deltaSource(
      checkpoint,
      changes.flatMap((change) => ("form" in change ? change : [])),
      changes.flatMap((change) => ("info" in change ? change : [])),
    );
    return { changes: new Map(changes.map((each) => [each.target, each])), ...placed(base, source, checkpoint) };
  });
  const others = new Map([...replaced].map(([name, { key }]) => [names.get(name)!, key]));
  const copied = new Set([...copies].map((name) => names.get(name)!));
  refuseUntied(base, checkpoint, new Map([...others].filter(([name]) => !copied.has(name))));
  const instead = placed(base, renamedSource(checkpoint, others), checkpoint);
  const added = new Set(layers.flatMap(({ changes }) => [...changes.keys()]));
  const isBelow = (name: string) => copied.has(name) && added.has(name);
  const tensors = [
    ...layers.flatMap(({ changes, origins }) =>
      [...origins].map(([key, from]) => {
        const change = changes.get(from)!;
        const rank = "form" in change ? change.rank : null;
        return {
          key,
          ...fromOf(key, from),
          kind: rank === null ? ("bias" as const) : ("product" as const),
          rank,
          scale: change.scale,
        };
      }),
    ),
    ...[...instead.origins]
      .filter(([, from]) => !isBelow(from))
      .map(([key, from]) => ({
        key,
        ...fromOf(key, from),
        kind: "replaced" as const,
        rank: null,
        scale: null,
      })),
  ];
  return {
    added: layers.map(({ source }) => source),
    replaced: instead.source,
    tensors,
    notes: tieNotes(base, tensors),
  };
}

const fromOf = (key: string, from: string) => (key === from ? {} : { from });

/** What changes one of two that are tied changes both: so does peft, as both are one parameter. */
function tieNotes({ aliases }: Base, tensors: Fitted["tensors"]): string[] {
  const changed = new Set(tensors.filter(({ kind }) => kind !== "replaced").map(({ key }) => key));
  return [...aliases].flatMap(([alias, of]) =>
    changed.has(of)
      ? [
          `"${alias}" repeats "${of}", so the change goes to both, as with peft's merge_and_unload; unmerged, the adapter changes one of them alone`,
        ]
      : [],
  );
}

function refuseUntied({ aliases }: Base, { path }: Checkpoint, replaced: ReadonlyMap<string, string>): void {
  for (const [alias, of] of aliases) {
    const own = replaced.get(alias) ?? replaced.get(of);
    if (own === undefined) continue;
    throw new InputError("ADAPTER_UNTIES", `${path}: "${own}" replaces one of two tensors that the base ties`, {
      tensor: own,
      file: path,
      expected: `"${alias}" and "${of}" to be one, as the base's config.json says (tie_word_embeddings)`,
      found: "a tensor for one of them alone",
      help: "untie the base first: set tie_word_embeddings to false in its config.json and save lm_head.weight as a copy of the embedding (transformers: model.config.tie_word_embeddings = False, a cloned lm_head.weight, save_pretrained), then merge into that",
    });
  }
}

/** Two adapters may add to one tensor, but not both take its place. */
function refuseTwice(adapters: readonly PeftAdapter[], fits: readonly Fitted[]): void {
  const seen = new Map<string, number>();
  for (const [i, { replaced }] of fits.entries()) {
    for (const key of replaced.tensors.keys()) {
      const other = seen.get(key);
      seen.set(key, i);
      if (other === undefined) continue;
      const paths = [adapters[other]!.path, adapters[i]!.path];
      throw new InputError("ADAPTER_AMBIGUOUS", `"${key}": both ${paths.join(" and ")} would take its place`, {
        tensor: key,
        file: paths[1]!,
        expected: "one adapter that has it in modules_to_save",
        found: paths.join(", "),
        help: "merge one of them",
      });
    }
  }
}

function refuseEncoded({ path }: Checkpoint, { encoded }: Model, edited: readonly string[]): void {
  const codes = new Map(
    [...encoded].map(([key, { codes, scales, encoding }]) => [codes, { key, scales, name: encoding.name }]),
  );
  const hit = edited.map((key) => codes.get(key)).find((each) => each !== undefined);
  if (hit === undefined) return;
  throw new InputError(
    "ADAPTER_ON_CODES",
    `${path}: "${hit.key}" is stored as ${hit.name}, and the adapter changes it`,
    {
      tensor: hit.key,
      file: path,
      expected: "plain weights where something is added to them: codes of so few bits would round most of it away",
      found: hit.name,
      help: `decode the base first: convert ${path} PLAIN --to hf --encoding none, then merge into PLAIN`,
    },
  );
}

const inRanks = ({ path, files }: Checkpoint): InputError =>
  new InputError("ADAPTER_ON_RANKS", `${path}: nothing is merged into rank shards`, {
    file: path,
    expected: "a base in whole tensors",
    found: files.slice(0, 4).join(", "),
    help: `convert it first: convert ${path} BASE --to hf, then merge into BASE`,
  });

const unplaced = ({ path }: Checkpoint, why: string): InputError =>
  new InputError("ADAPTER_UNPLACED", `${path}: this layout cannot hold what the adapter changes: ${why}`, {
    file: path,
    expected: "a place for each changed tensor",
    found: why,
    help: `convert it first: convert ${path} BASE --to hf, then merge into BASE`,
  });

/** Member by member: what else a checkpoint may offer, such as ranges of its files, holds for the base alone. */
function overlaid(
  base: Checkpoint,
  { stored: { placed, names } }: Model,
  changed: TensorSource,
  edited: readonly string[],
  merged: Merged,
  adapters: readonly PeftAdapter[],
): MergedBase["checkpoint"] {
  const nameOf = (key: string): string => {
    const own = placed.get(key) ?? key;
    return names.get(own) ?? own;
  };
  const made = new Map(edited.map((key) => [nameOf(key), key]));
  const tensors = new Map<string, TensorInfo>(base.tensors);
  for (const [name, key] of made) {
    const { encoding: _, ...info } = changed.tensors.get(key)!;
    tensors.set(name, { ...info, key: name });
  }
  const { path, folder, files, format, others, paths, chunks, companions, savedBy, safetensors } = base;
  return {
    path,
    folder,
    files,
    format,
    others,
    tensors,
    merged,
    ...(paths === undefined ? {} : { paths }),
    ...(chunks === undefined ? {} : { chunks }),
    ...(companions === undefined ? {} : { companions }),
    ...(savedBy === undefined ? {} : { savedBy }),
    ...(safetensors === undefined ? {} : { safetensors }),
    read(name, begin, target) {
      const key = made.get(name);
      if (key === undefined) base.read(name, begin, target);
      else changed.read(key, begin, target);
    },
    sample: () => base.sample?.(),
    notChecked: () => base.notChecked?.() ?? null,
    verify(keys) {
      base.verify(keys);
      for (const { checkpoint } of adapters) checkpoint.verify();
    },
    close() {
      base.close();
      for (const { checkpoint } of adapters) checkpoint.close();
    },
  };
}

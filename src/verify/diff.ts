// Two checkpoints, tensor by tensor, whatever their layouts and containers.

import { InputError } from "../base/errors.ts";
import { runSteps, type StepOptions } from "../base/steps.ts";
import { isSameLayout } from "../family/layout.ts";
import type { Checkpoint, Format } from "../formats/checkpoint.ts";
import { checkAdapters, checkArgument } from "../model/argument-kinds.ts";
import { hasOrders, tiedKinds } from "../model/detect.ts";
import { refuseRanks } from "../model/joined.ts";
import { type Identified, identify, type Model, type ModelOptions, modelOf } from "../model/model.ts";
import { abstractKey } from "../table/dims/key-pattern.ts";
import { asHf, type HfView } from "../views/as-hf.ts";
import { valueFaults } from "../views/checks.ts";
import { compareSources } from "../views/compare.ts";
import { decodedAlike } from "../views/decoded-alike.ts";
import { type Difference, sourceDifferences, valueDifference } from "../views/difference.ts";
import { renamedSource, type TensorSource } from "../views/tensor-source.ts";

export interface Compared {
  readonly path: string;
  readonly family: string | null;
  readonly layout: string | null;
  readonly format: Format;
}

/** The JSON document of `diff` (CONTRACT). */
export interface Diff {
  readonly verdict: "pass" | "fail";
  readonly a: Compared;
  readonly b: Compared;
  /** Whose keys the differences are told in: of the layout that both sides have, of `hf`, or of the files (`raw`). */
  readonly keys: string;
  /** Tensors that both sides have. */
  readonly tensors: number;
  /** Of these tensors, in a. */
  readonly bytes: number;
  readonly differences: readonly Difference[];
  readonly seconds: number;
}

export interface DiffOptions extends StepOptions {
  readonly a: ModelOptions;
  readonly b: ModelOptions;
}

interface View {
  readonly about: Compared;
  readonly source: TensorSource;
  /** Checks what reading could not. */
  readonly verify: () => void;
  /** What is wrong with this side alone; steps yield bytes. */
  readonly faults: () => Generator<number, Difference[], void>;
}

/**
 * Sides of one layout are compared by their keys as they are; of two layouts, as `hf`, for which each needs its config.
 * Throws InputError where a side cannot be read, or where one is of a known family and the other is not.
 */
export async function diff(a: Checkpoint, b: Checkpoint, options: DiffOptions): Promise<Diff> {
  for (const checkpoint of [a, b]) checkArgument("diff", "Checkpoint", checkpoint);
  for (const each of [options.a, options.b]) checkAdapters("diff", each);
  const begin = performance.now();
  const { views, keys } = viewsOf(a, b, options);
  const [left, right] = views;
  const shared = [...left.source.tensors.values()].filter(({ key }) => right.source.tensors.has(key));
  const bytes = shared.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const differences = await runSteps(compareViews(left, right), "comparing", 2 * bytes, options);
  left.verify();
  right.verify();
  return {
    verdict: differences.length === 0 ? "pass" : "fail",
    a: left.about,
    b: right.about,
    keys,
    tensors: shared.length,
    bytes,
    differences,
    seconds: (performance.now() - begin) / 1e3,
  };
}

function* compareViews(a: View, b: View): Generator<number, Difference[], void> {
  const own = [...labelled(yield* a.faults(), "a"), ...labelled(yield* b.faults(), "b")];
  const told = new Set(own.map(({ key }) => key));
  const found = yield* compareSources(a.source, b.source);
  return [...own, ...found.filter(({ key }) => !told.has(key))];
}

/** Whether one `hf` tensor may be there in two orders of dims: in families that have several, or under an encoding. */
function mayDifferInOrder({ recognised: { adapter, layout } }: Identified, [a, b]: readonly [View, View]): boolean {
  const pairs = [...a.source.tensors.values()].map((info) => [info, b.source.tensors.get(info.key) ?? info] as const);
  const encoding = pairs.some(([x, y]) => x.encoding !== y.encoding);
  const shapes = pairs.some(([x, y]) => x.shape.join() !== y.shape.join());
  const keys = pairs.some(([{ key }]) => !b.source.tensors.has(key));
  return layout.side === "hf" && (encoding || ((shapes || keys) && hasOrders(adapter)));
}

/** Whether a tensor may be there under one of two names that it has: only a config tells. */
function mayDifferInTies([x, y]: readonly [Identified, Identified], [a, b]: readonly [View, View]): boolean {
  if (x.config === null || y.config === null) return false;
  const lacking = (one: View, other: View) =>
    [...one.source.tensors.keys()].filter((key) => !other.source.tensors.has(key));
  const unshared = [...lacking(a, b), ...lacking(b, a)];
  if (unshared.length === 0) return false;
  const tied = tiedKinds(x.recognised.adapter, x.recognised.layout);
  return unshared.some((key) => tied.has(abstractKey(key)));
}

const labelled = (faults: readonly Difference[], side: string): Difference[] =>
  faults.map((fault) => ({ ...fault, detail: `in ${side}: ${fault.detail}` }));

function viewsOf(a: Checkpoint, b: Checkpoint, options: DiffOptions): { views: readonly [View, View]; keys: string } {
  const [x, y] = [identifyOrNot(a, options.a), identifyOrNot(b, options.b)];
  // Of an unknown family, encoded tensors are compared as they are stored.
  if (x instanceof InputError && y instanceof InputError) return { views: [rawView(a), rawView(b)], keys: "raw" };
  if (x instanceof InputError) throw x;
  if (y instanceof InputError) throw y;
  const isWhole = ({ checkpoint: { ranks = [] } }: Identified) => ranks.length < 2;
  const [one, other] = [x.recognised, y.recognised];
  if (one.adapter === other.adapter && isSameLayout(one.layout, other.layout) && isWhole(x) && isWhole(y)) {
    const views = [plainView(x), plainView(y)] as const;
    if (!mayDifferInOrder(x, views) && !mayDifferInTies([x, y], views)) return { views, keys: one.layout.name };
  }
  if (one.adapter !== other.adapter) throw familyMismatch(x, y);
  const models = [modelOf(x), modelOf(y)] as const;
  const [left, right] = decodedAlike([asHf(models[0], TOLERANT), asHf(models[1], TOLERANT)]);
  return {
    views: [convertedView(models[0], left), convertedView(models[1], right)],
    keys: models[0].family.hf.name,
  };
}

const TOLERANT = { tolerate: true } as const;

function familyMismatch(a: Identified, b: Identified): InputError {
  const [one, other] = [a, b].map(({ checkpoint: { path }, recognised: { adapter } }) => ({
    path,
    family: adapter.family,
  }));
  const message = `${one!.path} is of family ${one!.family}, ${other!.path} of ${other!.family}`;
  return new InputError("FAMILY_MISMATCH", message, {
    file: other!.path,
    expected: one!.family,
    found: other!.family,
    help: "compare two checkpoints of one family; --family settles a wrong detection",
  });
}

function identifyOrNot(checkpoint: Checkpoint, options: ModelOptions): Identified | InputError {
  try {
    return identify(checkpoint, options);
  } catch (error) {
    if (error instanceof InputError && (error.code === "UNKNOWN_FAMILY" || error.code === "NO_MODEL")) return error;
    throw error;
  }
}

function* noFaults(): Generator<number, Difference[], void> {
  yield 0;
  return [];
}

const rawView = (checkpoint: Checkpoint): View => {
  refuseRanks(checkpoint);
  return {
    about: { path: checkpoint.path, family: null, layout: null, format: checkpoint.format },
    source: checkpoint,
    verify: () => checkpoint.verify(),
    faults: noFaults,
  };
};

function plainView({ logical: { checkpoint }, recognised: { adapter, layout, keys } }: Identified): View {
  return {
    about: { path: checkpoint.path, family: adapter.family, layout: layout.name, format: checkpoint.format },
    source: renamedSource(checkpoint, keys.model),
    verify: () => checkpoint.verify([...keys.model.values()]),
    faults: noFaults,
  };
}

function convertedView({ checkpoint, adapter, layout, stored }: Model, { source, mapping }: HfView): View {
  return {
    about: { path: checkpoint.path, family: adapter.family, layout: layout.name, format: checkpoint.format },
    source,
    verify: () => checkpoint.verify(stored.keys),
    // What is missing on one side shows in the comparison, under its HF key.
    *faults() {
      const own = sourceDifferences(mapping).filter(({ kind }) => kind !== "missing");
      return [...own, ...(yield* valueFaults(mapping)).map(valueDifference)];
    },
  };
}

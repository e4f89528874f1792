// Two checkpoints, tensor by tensor, whatever their layouts and containers.

import { InputError } from "../base/errors.ts";
import { runSteps, type StepOptions } from "../base/steps.ts";
import { isSameLayout } from "../family/layout.ts";
import type { Checkpoint, Format } from "../formats/checkpoint.ts";
import { decodedAlike } from "../model/decoded-alike.ts";
import { hasOrders } from "../model/detect.ts";
import {
  configOf,
  logicalCheckpoint,
  type Recognised,
  recognise,
  refuseRanks,
  resolveSide,
  type Side,
  type SideOptions,
} from "../model/sides.ts";
import { valueFaults } from "../views/checks.ts";
import { compareSources } from "../views/compare.ts";
import { type Difference, sourceDifferences, valueDifference } from "../views/difference.ts";
import { hfView } from "../views/hf-view.ts";
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
  readonly a: SideOptions;
  readonly b: SideOptions;
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
function mayDifferInOrder({ adapter, layout }: Recognised, [a, b]: readonly [View, View]): boolean {
  const pairs = [...a.source.tensors.values()].map((info) => [info, b.source.tensors.get(info.key) ?? info] as const);
  const encoding = pairs.some(([x, y]) => x.encoding !== y.encoding);
  const shapes = pairs.some(([x, y]) => x.shape.join() !== y.shape.join());
  const keys = pairs.some(([{ key }]) => !b.source.tensors.has(key));
  return layout.side === "hf" && (encoding || ((shapes || keys) && hasOrders(adapter)));
}

const labelled = (faults: readonly Difference[], side: string): Difference[] =>
  faults.map((fault) => ({ ...fault, detail: `in ${side}: ${fault.detail}` }));

function viewsOf(
  storedA: Checkpoint,
  storedB: Checkpoint,
  options: DiffOptions,
): { views: readonly [View, View]; keys: string } {
  const [a, b] = [logicalOrNot(storedA, options.a), logicalOrNot(storedB, options.b)];
  const [x, y] = [recogniseOrNot(a, options.a), recogniseOrNot(b, options.b)];
  if (x instanceof InputError && y instanceof InputError) return { views: [rawView(a), rawView(b)], keys: "raw" };
  if (x instanceof InputError) throw x;
  if (y instanceof InputError) throw y;
  const isWhole = ({ ranks = [] }: Checkpoint) => ranks.length < 2;
  if (x.adapter === y.adapter && isSameLayout(x.layout, y.layout) && isWhole(a) && isWhole(b)) {
    const views = [plainView(a, x), plainView(b, y)] as const;
    if (!mayDifferInOrder(x, views)) return { views, keys: x.layout.name };
  }
  if (x.adapter !== y.adapter) {
    throw new InputError(
      "FAMILY_MISMATCH",
      `${a.path} is of family ${x.adapter.family}, ${b.path} of ${y.adapter.family}`,
      {
        file: b.path,
        expected: x.adapter.family,
        found: y.adapter.family,
        help: "compare two checkpoints of one family; --family settles a wrong detection",
      },
    );
  }
  const [left, right] = decodedAlike([resolveSide(storedA, options.a), resolveSide(storedB, options.b)]);
  return { views: [convertedView(left), convertedView(right)], keys: left.family.hf.name };
}

/** Encoded tensors are compared by their values; of an unknown family, as they are stored. */
function logicalOrNot(checkpoint: Checkpoint, options: SideOptions): Checkpoint {
  const config = configOf(checkpoint, options)?.json ?? null;
  const logical = logicalCheckpoint(checkpoint, config).checkpoint;
  return recogniseOrNot(logical, options) instanceof InputError ? checkpoint : logical;
}

function recogniseOrNot(checkpoint: Checkpoint, options: SideOptions): Recognised | InputError {
  try {
    return recognise(checkpoint, configOf(checkpoint, options)?.json ?? null, options);
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

const plainView = (checkpoint: Checkpoint, { adapter, layout, keys }: Recognised): View => ({
  about: { path: checkpoint.path, family: adapter.family, layout: layout.name, format: checkpoint.format },
  source: renamedSource(checkpoint, keys.model),
  verify: () => checkpoint.verify([...keys.model.values()]),
  faults: noFaults,
});

function convertedView(side: Side): View {
  const { checkpoint } = side;
  const { source, seen } = hfView(side);
  return {
    about: { path: checkpoint.path, family: side.adapter.family, layout: side.layout.name, format: checkpoint.format },
    source,
    verify: () => checkpoint.verify(side.storedKeys),
    // What is missing on one side shows in the comparison, under its HF key.
    *faults() {
      const own = sourceDifferences(seen.mapping).filter(({ kind }) => kind !== "missing");
      return [...own, ...(yield* valueFaults(seen.mapping)).map(valueDifference)];
    },
  };
}

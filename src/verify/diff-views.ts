// The two sides of a diff, under keys that can be compared: those of one layout, or Hugging Face's.
import { InputError } from "../base/errors.ts";
import { isSameLayout, type Place } from "../family/layout.ts";
import { isForeign } from "../foreign/foreign.ts";
import type { Checkpoint, Format } from "../formats/checkpoint.ts";
import { hasOrders } from "../model/detect.ts";
import { refuseRanks } from "../model/joined.ts";
import { type Identified, identify, type Model, type ModelOptions, modelOf } from "../model/model.ts";
import { keysAtFault } from "../table/faults/fault.ts";
import { asHf, type HfView } from "../views/as-hf.ts";
import { valueFaults } from "../views/checks.ts";
import { decodedAlike } from "../views/decoded-alike.ts";
import { type Difference, sourceDifferences, valueDifference } from "../views/difference.ts";
import { renamedSource, type TensorSource } from "../views/tensor-source.ts";

export interface Compared {
  readonly path: string;
  readonly family: string | null;
  readonly layout: string | null;
  readonly format: Format;
}

export interface DiffView {
  readonly about: Compared;
  /** How its files spell the keys, where it is not as the layout does. */
  readonly spelling: readonly string[];
  readonly side: Place["side"];
  readonly source: TensorSource;
  /** What a tensor repeats that this side has no place for, or does not keep: alias → key. */
  readonly aliases: ReadonlyMap<string, string>;
  /** Aliases that the files hold beside what they repeat; they are checked, and not compared. */
  readonly shipped: readonly string[];
  /** Checks what reading could not. */
  readonly verify: () => void;
  /** What is wrong with this side alone, what is missing aside; steps yield bytes. */
  readonly faults: () => Generator<number, Difference[], void>;
  /** What its config names and its files lack. */
  readonly missing: readonly Difference[];
}

export interface DiffPair {
  readonly views: readonly [DiffView, DiffView];
  /** Whose keys the differences are told in: of the layout that both sides have, of `hf`, or of the files (`raw`). */
  readonly keys: string;
  /** Whether the tables of both sides were needed to compare them. */
  readonly byTable: boolean;
  /** Null where a side has no config, or is of no known family. */
  readonly models: readonly [Model, Model] | null;
}

type Sides<T> = readonly [a: T, b: T];

export interface PairOptions {
  readonly a: ModelOptions;
  readonly b: ModelOptions;
  /** Encoded weights of a are decoded with all their digits where b has them in another type than declared. */
  readonly afterCast?: boolean | undefined;
}

/** Throws InputError where a side cannot be read, or where one is of a known family and the other is not. */
export function pairOf(a: Checkpoint, b: Checkpoint, options: PairOptions): DiffPair {
  const [x, y] = [identifyOrNot(a, options.a), identifyOrNot(b, options.b)];
  // Of an unknown family, encoded tensors are compared as they are stored.
  if (x instanceof InputError && y instanceof InputError) {
    return { views: [rawView(a), rawView(b)], keys: "raw", byTable: false, models: null };
  }
  if (x instanceof InputError) throw x;
  if (y instanceof InputError) throw y;
  return pairOfKnown([x, y], options.afterCast ?? false);
}

function pairOfKnown([x, y]: Sides<Identified>, afterCast: boolean): DiffPair {
  const [one, other] = [x.recognised, y.recognised];
  if (one.adapter !== other.adapter) throw familyMismatch(x, y);
  const isWhole = ({ checkpoint: { ranks = [] } }: Identified) => ranks.length < 2;
  const plain = isSameLayout(one.layout, other.layout) && isWhole(x) && isWhole(y);
  if (plain && !mayDifferInOrder(x, [storedTensors(x), storedTensors(y)])) {
    const opened = openedOrNot([x, y]);
    const known = opened === null ? null : hfViews(opened, afterCast);
    if (known === null || !isToldByTable(known, [storedTensors(x), storedTensors(y)])) {
      const views = [plainView(x, known?.[0]), plainView(y, known?.[1])] as const;
      return { views, keys: one.layout.name, byTable: false, models: opened };
    }
  }
  const models = [modelOf(x), modelOf(y)] as const;
  const [left, right] = decodedAlike([asHf(models[0], TOLERANT), asHf(models[1], TOLERANT)], { afterCast });
  const views = [convertedView(models[0], left), convertedView(models[1], right)] as const;
  return { views, keys: models[0].family.hf.name, byTable: true, models };
}

const TOLERANT = { tolerate: true } as const;

const storedTensors = ({ logical, recognised: { keys } }: Identified): TensorSource["tensors"] =>
  renamedSource(logical.checkpoint, keys.model).tensors;

/** Sides of one layout can be compared without a config: it is used where there is one. */
function openedOrNot([x, y]: Sides<Identified>): Sides<Model> | null {
  try {
    return [modelOf(x), modelOf(y)];
  } catch (error) {
    if (error instanceof InputError) return null;
    throw error;
  }
}

/** Null where nothing tells what tensors become. */
function hfViews([x, y]: Sides<Model>, afterCast: boolean): Sides<HfView> | null {
  try {
    const views = decodedAlike([asHf(x, TOLERANT), asHf(y, TOLERANT)], { afterCast });
    for (const { plan } of views) void plan;
    return views;
  } catch (error) {
    if (error instanceof InputError) return null;
    throw error;
  }
}

/** Whether one `hf` tensor may be there in two orders of dims: in families that have several, or under an encoding. */
function mayDifferInOrder({ recognised: { adapter, layout } }: Identified, [a, b]: Sides<TensorSource["tensors"]>) {
  const pairs = [...a.values()].map((info) => [info, b.get(info.key) ?? info] as const);
  const encoding = pairs.some(([x, y]) => x.encoding !== y.encoding);
  const shapes = pairs.some(([x, y]) => x.shape.join() !== y.shape.join());
  const keys = pairs.some(([{ key }]) => !b.has(key));
  return layout.side === "hf" && (encoding || ((shapes || keys) && hasOrders(adapter)));
}

/** Whether a key that one side alone has is of a tie, a buffer, another spelling or another form of one that the other has. */
function isToldByTable([left, right]: Sides<HfView>, [a, b]: Sides<TensorSource["tensors"]>): boolean {
  const told = ({ plan: { equalities, dropped, spelling } }: HfView) =>
    new Set([...equalities.map(({ alias }) => alias), ...dropped.map(({ key }) => key), ...spelling.values()]);
  const tied = ({ model: { table, layout } }: HfView) =>
    new Set(table.tensors(layout.side).flatMap(({ key, of }) => (of === undefined ? [] : [key, of])));
  const [byLeft, byRight] = [told(left), told(right)];
  const [ofLeft, ofRight] = [tied(left), tied(right)];
  return (
    left.plan.form !== right.plan.form ||
    [...a.keys()].some((key) => !b.has(key) && (byLeft.has(key) || ofRight.has(key))) ||
    [...b.keys()].some((key) => !a.has(key) && (byRight.has(key) || ofLeft.has(key)))
  );
}

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
    if (!(error instanceof InputError)) throw error;
    if (error.code === "UNKNOWN_FAMILY" || error.code === "NO_MODEL" || isForeign(error)) return error;
    throw error;
  }
}

function* noFaults(): Generator<number, Difference[], void> {
  yield 0;
  return [];
}

const NO_TABLE = { aliases: new Map<string, string>(), shipped: [], missing: [], faults: noFaults } as const;

const rawView = (checkpoint: Checkpoint): DiffView => {
  refuseRanks(checkpoint);
  return {
    ...NO_TABLE,
    side: "raw",
    about: { path: checkpoint.path, family: null, layout: null, format: checkpoint.format },
    spelling: [],
    source: checkpoint,
    verify: () => checkpoint.verify(),
  };
};

/** @param view what the config says of the same side, where it has one */
function plainView(
  { logical: { checkpoint }, recognised: { adapter, layout, keys } }: Identified,
  view?: HfView,
): DiffView {
  return {
    ...NO_TABLE,
    side: layout.side,
    about: { path: checkpoint.path, family: adapter.family, layout: layout.name, format: checkpoint.format },
    spelling: keys.notes,
    source: renamedSource(checkpoint, keys.model),
    verify: () => checkpoint.verify([...keys.model.values()]),
    missing: view === undefined ? [] : missingFrom(view),
  };
}

const missingFrom = ({ mapping }: HfView): Difference[] =>
  sourceDifferences(mapping).filter(({ kind }) => kind === "missing");

function convertedView({ checkpoint, adapter, layout, stored, table }: Model, view: HfView): DiffView {
  const { source, mapping } = view;
  const atFault = keysAtFault(mapping.faults ?? []);
  return {
    side: layout.side,
    about: { path: checkpoint.path, family: adapter.family, layout: layout.name, format: checkpoint.format },
    spelling: stored.notes,
    source,
    aliases: new Map(table.tensors("hf").flatMap(({ key, of }) => (of === undefined ? [] : [[key, of]]))),
    shipped: mapping.equalities.map(({ alias }) => alias).filter((alias) => !atFault.has(alias)),
    verify: () => checkpoint.verify(stored.keys),
    missing: missingFrom(view),
    // What is missing on one side shows in the comparison, under its HF key.
    *faults() {
      const own = sourceDifferences(mapping).filter(({ kind }) => kind !== "missing");
      return [...own, ...(yield* valueFaults(mapping)).map(valueDifference)];
    },
  };
}

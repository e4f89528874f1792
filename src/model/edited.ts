// A change made in the Hugging Face view of a model, a fault or an adapter, brought back to the tensors of its own layout.

import { encodedSource, readScales } from "../encodings/encoded.ts";
import type { EncodedTensor } from "../encodings/encoding.ts";
import { throughTable } from "../family/family.ts";
import type { TolerableFault } from "../table/faults/fault.ts";
import type { HfView } from "../views/as-hf.ts";
import { type Mapping, mapped, planned } from "../views/mapping.ts";
import { virtualSource } from "../views/produce.ts";
import type { TensorSource } from "../views/tensor-source.ts";
import type { Model } from "./model.ts";

/** The tensors of a view, some of them other, new or gone. */
export interface Edit {
  readonly source: TensorSource;
  /** Canonical keys of these. */
  readonly tensors: readonly string[];
}

/** Tensors of a model, by the keys of its layout, that an edit changed. */
export interface Changed {
  /** Has what is new or other. */
  readonly source: TensorSource;
  /** Keys that are new or other. */
  readonly edited: readonly string[];
  readonly removed: readonly string[];
}

/** Why an edit has no place in this layout, in words. */
export class Unplaced {
  constructor(readonly why: string) {}
}

const OPTIONS = { tolerate: true, mixedDtypes: true, buffers: false } as const;

/** @param view of the model as it is */
export function changedTensors(model: Model, view: HfView, made: Edit): Changed | Unplaced {
  if (made.tensors.length === 0) return { source: made.source, edited: [], removed: [] };
  if (model.layout.side === "native") return inNative(model, view, made);
  const isTurned = view.plan.order !== null || model.encoded.size > 0;
  return isTurned ? inTurnedHf(model, view, made) : inHf(view, made);
}

/** Hugging Face's own tensors, but for how their keys are spelled. */
function inHf(view: HfView, { source, tensors }: Edit): Changed {
  const { spelling } = view.plan;
  const own = (key: string) => spelling.get(key) ?? key;
  const canonical = new Map(tensors.map((key) => [own(key), key]));
  const [edited, removed] = [true, false].map((isThere) =>
    tensors.filter((key) => source.tensors.has(key) === isThere).map(own),
  );
  return { source: spelled(source, canonical), edited: edited!, removed: removed! };
}

const spelled = (source: TensorSource, canonical: ReadonlyMap<string, string>): TensorSource => ({
  tensors: new Map(
    [...canonical].flatMap(([own, key]) => {
      const info = source.tensors.get(key);
      return info === undefined ? [] : [[own, { ...info, key: own }] as const];
    }),
  ),
  read: (own, begin, target) => source.read(canonical.get(own) ?? own, begin, target),
});

/** Native tensors that are made of the changed ones, in the direction in which a model is converted. */
function inNative(model: Model, view: HfView, made: Edit): Changed | Unplaced {
  const { table, layout, family } = model;
  const plan = planned(table, made.source, [family.hf, layout], OPTIONS);
  const there = mapped(made.source, [family.hf, layout], plan);
  const refused = refusal(plan.faults, made, there);
  if (refused !== null) return refused;
  const before = mapped(view.source, [family.hf, layout], planned(table, view.source, [family.hf, layout], OPTIONS));
  const removed = [...before.tensors.keys()].filter((key) => !there.tensors.has(key) && model.source.tensors.has(key));
  return settled({ source: virtualSource(there), edited: madeOf(there, new Set(made.tensors)), removed }, made, there);
}

/** Where the files have another order of dims than the canonical one, or codes: there, and back as the files have it. */
function inTurnedHf(model: Model, view: HfView, made: Edit): Changed | Unplaced {
  const { table, family, layout } = model;
  const native = throughTable(family, layout);
  const there = mapped(made.source, [layout, native], planned(table, made.source, [layout, native], OPTIONS));
  const refused = refusal(there.faults ?? [], made, there);
  if (refused !== null) return refused;
  const { order, orderAt, spelling } = view.plan;
  const encoding = (key: string) => model.encoded.get(key)?.encoding.name;
  const middle = virtualSource(there);
  const plan = planned(table, middle, [native, layout], {
    ...OPTIONS,
    spelling,
    ...(order === null ? {} : { order, orderAt }),
    targetEncoding: encoding,
  });
  const back = mapped(middle, [native, layout], plan);
  const edited = madeOf(back, new Set(madeOf(there, new Set(made.tensors))));
  const encoded = edited.flatMap((key): EncodedTensor[] => {
    const tensor = model.encoded.get(key);
    return tensor === undefined ? [] : [tensor];
  });
  const source = virtualSource(back);
  const removed = made.tensors.filter((key) => !made.source.tensors.has(key)).map((key) => spelling.get(key) ?? key);
  if (encoded.length === 0) return settled({ source, edited, removed }, made, there);
  const stored = encodedSource(source, encoded, (key) => readScales(model.checkpoint, key));
  const codes = encoded.flatMap((tensor) => [tensor.codes, tensor.scales]);
  const plain = edited.filter((key) => !model.encoded.has(key));
  return settled({ source: stored, edited: [...plain, ...codes], removed }, made, there);
}

const madeOf = ({ tensors }: Mapping, keys: ReadonlySet<string>): string[] =>
  [...tensors].flatMap(([key, { sources }]) => (sources.some((from) => keys.has(from)) ? [key] : []));

/** What a table would not take: a fault of keys or shapes that this layout has no way to hold. */
function refusal(faults: readonly TolerableFault[], made: Edit, there: Mapping): Unplaced | null {
  const gone = new Set(made.tensors.filter((key) => !made.source.tensors.has(key)));
  const other = faults.find(
    (fault) => !((fault.code === "MISSING_TENSOR" && gone.has(fault.key)) || fault.code === "MISSING_TOWER"),
  );
  if (other !== undefined) return new Unplaced(`"${other.key}" would have no place in this layout (${other.code})`);
  const partial = [...there.tensors.values()].find((tensor) => tensor.partial);
  return partial === undefined ? null : new Unplaced(`"${partial.info.key}" holds it together with others`);
}

/** A change that leaves no trace is none. */
function settled(changed: Changed, made: Edit, there: Mapping): Changed | Unplaced {
  const read = new Set([...there.tensors.values()].flatMap(({ sources }) => sources));
  const lost = made.tensors.find((key) => made.source.tensors.has(key) && !read.has(key));
  if (lost !== undefined) return new Unplaced(`"${lost}" has no tensor of its own in this layout`);
  if (changed.edited.length + changed.removed.length > 0) return changed;
  return new Unplaced("no tensor of this layout would show it");
}

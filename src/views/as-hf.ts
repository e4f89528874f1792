// A model as Hugging Face has it, whatever its layout: canonical keys, dims and order, made as they are read.
import { throughTable } from "../family/family.ts";
import type { Layout } from "../family/layout.ts";
import { keysAtFault } from "../table/faults/fault.ts";
import type { PlanOptions } from "../table/plan.ts";
import { type Mapping, mapped, type Planned, planned } from "./mapping.ts";
import { virtualSource } from "./produce.ts";
import type { ViewedModel } from "./tables.ts";
import { renamedSource, type TensorSource } from "./tensor-source.ts";

export interface ViewOptions extends Pick<PlanOptions, "tolerate" | "mixedDtypes"> {
  /** Size of the working buffer, asked for at the first read. */
  readonly bufferBytes?: () => number;
}

/** A plan a direction, made when it is first needed. */
interface Plans {
  there?: Planned;
  back?: Planned;
}

/**
 * The view of a model. Nothing is planned before it is asked for, and then once.
 * Its members throw what a table's plan throws; with `tolerate`, where nothing tells what tensors become:
 * AMBIGUOUS_ORDER, MIXED_DTYPES, KEY_COLLISION.
 */
export const asHf = (model: ViewedModel, options: ViewOptions): HfView => new HfView(model, options);

/**
 * The same where the model is planned already, with nothing tolerated and nothing settled by a record: by its own table, to
 * `hf` or from it.
 */
export const asHfPlanned = (model: ViewedModel, { across, ...plan }: Planned, options: ViewOptions): HfView => {
  const { moves, ...rest } = across ?? plan;
  // Buffers that the source lacks are no part of a view.
  return new HfView(model, options, { there: { ...rest, moves: moves.filter(({ fill }) => fill === undefined) } });
};

export class HfView {
  readonly model: ViewedModel;
  readonly #options: PlanOptions;
  readonly #plans: Plans;
  #mapping: Mapping | undefined;
  #source: TensorSource | undefined;
  #origins: ReadonlyMap<string, readonly string[]> | undefined;

  readonly #bufferBytes: (() => number) | undefined;

  constructor(
    model: ViewedModel,
    { tolerate = false, mixedDtypes = false, bufferBytes }: ViewOptions,
    plans: Plans = {},
  ) {
    this.model = model;
    this.#bufferBytes = bufferBytes;
    this.#options = { tolerate, mixedDtypes, buffers: false };
    this.#plans = plans;
  }

  /** To `hf`, or from it to the layout of the model's table. What it tolerates are its `faults`. */
  get plan(): Planned {
    const { table, source } = this.model;
    this.#plans.there ??= planned(table, source, this.#way, this.#options);
    return this.#plans.there;
  }

  /** What `plan` makes of the model. */
  get mapping(): Mapping {
    this.#mapping ??= mapped(this.model.source, this.#way, this.plan);
    return this.#mapping;
  }

  /** In the canonical order of dims, by canonical HF key; without aliases, derived buffers and what cannot be made. */
  get source(): TensorSource {
    this.#source ??= this.model.layout.side === "hf" ? this.#inOwnLayout() : this.#wholeTensors();
    return this.#source;
  }

  /** The model's own tensors that each tensor of `source` is made of. */
  get origins(): ReadonlyMap<string, readonly string[]> {
    const { tensors } = this.source;
    this.#origins ??= new Map(
      [...this.mapping.tensors].flatMap(([key, { sources }]) => (tensors.has(key) ? [[key, sources]] : [])),
    );
    return this.#origins;
  }

  /** The same with encoded tensors decoded in F32. @param keys by the layout's keys */
  widened(keys: ReadonlySet<string>): HfView {
    const source = this.model.source.unrounded?.(keys);
    return source === undefined
      ? this
      : new HfView({ ...this.model, source }, { ...this.#options, ...buffer(this.#bufferBytes) }, this.#plans);
  }

  get #way(): readonly [from: Layout, to: Layout] {
    const { family, layout } = this.model;
    return [layout, throughTable(family, layout)];
  }

  #wholeTensors(): TensorSource {
    const whole = [...this.mapping.tensors].filter(([, { partial }]) => partial === undefined);
    return virtualSource({ ...this.mapping, tensors: new Map(whole) }, this.#bufferBytes);
  }

  /** HF tensors under their canonical keys, in the canonical order of dims. */
  #inOwnLayout(): TensorSource {
    const { source } = this.model;
    const { equalities, dropped, spelling, order, faults } = this.plan;
    const apart = new Set([
      ...equalities.map(({ alias }) => alias),
      ...dropped.map(({ key }) => key),
      ...keysAtFault(faults),
    ]);
    const canonical = new Map([...spelling].map(([key, spelled]) => [spelled, key]));
    const own = [...source.tensors.keys()].filter((key) => !apart.has(key));
    const names = new Map(own.map((key) => [canonical.get(key) ?? key, key]));
    if (order !== null || hasOwnDims(this.model)) return this.#reordered(names);
    this.#origins = new Map([...names].map(([key, from]) => [key, [from]]));
    return renamedSource(source, names);
  }

  /** There and back: the way back writes the canonical order. */
  #reordered(names: ReadonlyMap<string, string>): TensorSource {
    const { table, source } = this.model;
    const [hf, native] = this.#way;
    // What is added on the way there is taken away on the way back: neither is done, as a sum may have to be rounded.
    const there = mapped(source, this.#way, sameValues(this.plan));
    const made = virtualSource(there, this.#bufferBytes);
    this.#plans.back ??= planned(table, made, [native, hf], this.#options);
    const back = mapped(made, [native, hf], sameValues(this.#plans.back));
    const own = new Set(names.values());
    const isWhole = (native: string) => {
      const tensor = there.tensors.get(native);
      return tensor !== undefined && tensor.partial === undefined && tensor.sources.every((from) => own.has(from));
    };
    // A key of the canonical order that the files do not have is made of what they have.
    const isMade = (key: string, sources: readonly string[]) => !source.tensors.has(key) && sources.every(isWhole);
    const tensors = [...back.tensors].filter(([key, { sources }]) => names.has(key) || isMade(key, sources));
    const from = (sources: readonly string[]) => sources.flatMap((native) => there.tensors.get(native)?.sources ?? []);
    this.#origins = new Map(tensors.map(([key, { sources }]) => [key, from(sources)]));
    return virtualSource({ ...back, tensors: new Map(tensors) }, this.#bufferBytes);
  }
}

/** Whether tensors of an HF side may be stored in other dims than the canonical ones, because of their encoding. */
export function hasOwnDims({ table, source }: ViewedModel): boolean {
  const { ownDims } = table;
  if (ownDims.size === 0) return false;
  return [...source.tensors.values()].some(({ encoding }) => encoding !== undefined && ownDims.has(encoding));
}

const sameValues = (plan: Planned): Planned => (plan.plus.size === 0 ? plan : { ...plan, plus: new Map() });

const buffer = (bufferBytes: (() => number) | undefined): Pick<ViewOptions, "bufferBytes"> =>
  bufferBytes === undefined ? {} : { bufferBytes };

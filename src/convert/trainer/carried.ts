// The optimizer's state on its way to another layout: what it keeps for a parameter goes where the parameter goes.
import { InputError, UsageError } from "../../base/errors.ts";
import { isSameLayout, type Layout, layoutsOf } from "../../family/layout.ts";
import type { Checkpoint, TensorInfo } from "../../formats/checkpoint.ts";
import type { Model } from "../../model/model.ts";
import { type MappedTensor, type Mapping, mapped, planned, wholeMove } from "../../views/mapping.ts";
import { virtualSource } from "../../views/produce.ts";
import { tableTo } from "../../views/tables.ts";
import type { TensorSource } from "../../views/tensor-source.ts";
import { type ByParameter, keyOf, type SavedState, savedState } from "./saved.ts";

export interface Carried {
  readonly tensors: ReadonlyMap<string, MappedTensor>;
  /** What their moves read from. */
  readonly source: TensorSource;
  /** Values that are no tensors, as they were pickled. */
  readonly entries: ReadonlyMap<string, Uint8Array>;
  readonly paths: ReadonlyMap<string, readonly (string | number)[]>;
  /** What is made on the way: each takes a working buffer. */
  readonly steps: readonly Mapping[];
  readonly notes: readonly string[];
}

/** What happens to one kind of state, such as `state.exp_avg`. */
interface Way {
  readonly from: Layout;
  readonly to: Layout;
}

/**
 * @param checkpoint as it lies in its files
 * @throws UsageError OPTIMIZER_TO_HF; InputError NO_OPTIMIZER, OPTIMIZER_UNMAPPED, OPTIMIZER_SHAPE, OPTIMIZER_DIFFERS
 */
export function carriedState(checkpoint: Checkpoint, model: Model, to: Layout, bufferBytes: () => number): Carried {
  if (to.side === "hf" || model.layout.side === "hf") throw toHf(model.layout, to);
  const state = savedState(checkpoint);
  const [first] = state.moments.values();
  if (first === undefined) throw noOptimizer(checkpoint);
  const way = wayOf(checkpoint, model, to, first);
  const carrier = new Carrier(checkpoint, model, state, way, bufferBytes);
  for (const [kind, byParameter] of state.moments) carrier.moments(kind, byParameter);
  for (const [kind, byParameter] of state.numbers) carrier.numbers(kind, byParameter);
  for (const key of state.others) carrier.asItIs(key);
  return carrier;
}

class Carrier implements Carried {
  readonly tensors = new Map<string, MappedTensor>();
  readonly entries = new Map<string, Uint8Array>();
  readonly paths = new Map<string, readonly (string | number)[]>();
  readonly source: TensorSource;
  readonly steps: Mapping[] = [];
  readonly notes: readonly string[];
  /** Of what the moves name: where it is read. */
  private readonly sources = new Map<
    string,
    { readonly info: TensorInfo; readonly of: TensorSource; readonly key: string }
  >();
  /** For each parameter of the target, those of the source whose state makes up its own. */
  private origins = new Map<string, ReadonlySet<string>>();

  constructor(
    private readonly checkpoint: Checkpoint,
    private readonly model: Model,
    private readonly state: SavedState,
    private readonly way: Way,
    private readonly bufferBytes: () => number,
  ) {
    const { sources } = this;
    this.source = {
      get tensors() {
        return new Map([...sources].map(([key, { info }]) => [key, info]));
      },
      read: (key, begin, target) => {
        const found = sources.get(key);
        if (found === undefined) throw new RangeError(`no state ${JSON.stringify(key)}`);
        found.of.read(found.key, begin, target);
      },
    };
    const { from, to } = way;
    this.notes = [
      `--optimizer: state of ${[...state.moments.keys()].join(", ")} follows its weights from ${from.name} to ${to.name}; numbers, schedules, data loaders and counters go along as they are`,
    ];
  }

  /** What has the shape of its parameter. */
  moments(kind: string, byParameter: ByParameter): void {
    const own = this.momentsOf(kind, byParameter);
    const { from, to } = this.way;
    const made = isSameLayout(from, to) ? null : this.across(own);
    const origins = new Map<string, ReadonlySet<string>>();
    for (const [parameter, tensor] of made?.moved ?? asTheyAre(own)) {
      const key = keyOf(this.state.root, kind, parameter);
      const named = (source: string) => `${kind} ${source}`;
      for (const source of tensor.sources)
        this.sources.set(named(source), {
          info: (made?.source ?? own).tensors.get(source)!,
          of: made?.source ?? own,
          key: source,
        });
      const pieces = tensor.move.pieces.map((piece) => ({ ...piece, source: named(piece.source) }));
      this.put(key, {
        ...tensor,
        info: { ...tensor.info, key },
        move: { ...tensor.move, key, pieces },
        sources: tensor.sources.map(named),
      });
      origins.set(parameter, new Set(tensor.sources.flatMap((source) => made?.origins(source) ?? [source])));
    }
    refuseLost(byParameter, origins, this.checkpoint.path);
    this.origins = new Map([...this.origins, ...origins]);
  }

  /** The state of one kind as a model of which it has the shapes. */
  private momentsOf(kind: string, byParameter: ByParameter): TensorSource {
    const shapes = new Map(
      tableTo(this.model, this.way.from)
        .tensors("native")
        .map(({ key, shape }) => [key, shape]),
    );
    const tensors = new Map<string, TensorInfo>();
    for (const [parameter, key] of byParameter) {
      const info = this.checkpoint.tensors.get(key)!;
      const shape = shapes.get(parameter);
      if (shape !== undefined && `${shape.map((size, i) => size ?? info.shape[i])}` !== `${info.shape}`)
        throw otherShape(key, kind, shape, info);
      tensors.set(parameter, { ...info, key: parameter });
    }
    return {
      tensors,
      read: (parameter, begin, target) => this.checkpoint.read(byParameter.get(parameter)!, begin, target),
    };
  }

  /** Through Hugging Face's keys, as the weights go; parameters that were not trained have no state, and buffers none. */
  private across(own: TensorSource) {
    const { family } = this.model;
    const { from, to } = this.way;
    const options = { tolerate: true, buffers: false, mixedDtypes: true };
    const step = (source: TensorSource, table: Layout, ways: readonly [Layout, Layout]): Mapping => {
      const plan = planned(tableTo(this.model, table), source, ways, options);
      // Moments are of differences: what a rule adds to a weight is not added to them.
      return mapped(source, ways, { ...plan, plus: new Map() });
    };
    const there = step(own, from, [from, family.hf]);
    // Values that the model's own mapping checks are not those of its state.
    this.steps.push({ ...there, equalities: [], dropped: [] });
    const source = virtualSource(there, this.bufferBytes);
    const back = step(source, to, [family.hf, to]);
    const aliases = new Set(
      tableTo(this.model, to)
        .tensors("native")
        .filter(({ need }) => need === "alias")
        .map(({ key }) => key),
    );
    const moved = [...back.tensors].filter(([key, { sources }]) => sources.length > 0 && !aliases.has(key));
    const partial = [...there.tensors.values(), ...moved.map(([, tensor]) => tensor)].find(
      (tensor) => tensor.partial === true,
    );
    if (partial !== undefined) throw inPart(partial.info.key, this.checkpoint.path);
    return { source, moved, origins: (key: string) => there.tensors.get(key)?.sources ?? [] };
  }

  /** One number for all parameters that a parameter is made of. */
  numbers(kind: string, byParameter: ByParameter): void {
    for (const [parameter, origins] of this.origins) {
      const keys = [...origins].flatMap((origin) => byParameter.get(origin) ?? []);
      const [first, ...others] = keys;
      if (first === undefined) continue;
      const target = keyOf(this.state.root, kind, parameter);
      for (const other of others) this.refuseOther(target, first, other);
      this.carry(target, first);
    }
    const used = new Set([...this.origins.values()].flatMap((origins) => [...origins]));
    const lost = [...byParameter].find(([parameter]) => !used.has(parameter));
    if (lost !== undefined) throw unmapped(lost[1], this.checkpoint.path);
  }

  asItIs(key: string): void {
    this.carry(key, key);
  }

  private carry(target: string, from: string): void {
    const entry = this.checkpoint.entries?.get(from);
    if (entry !== undefined) {
      this.entries.set(target, entry());
      this.paths.set(target, this.checkpoint.paths?.get(target) ?? pathOf(target));
      return;
    }
    const info = this.checkpoint.tensors.get(from)!;
    this.sources.set(target, { info: { ...info, key: target }, of: this.checkpoint, key: from });
    this.put(target, { info: { ...info, key: target }, move: wholeMove({ ...info, key: target }), sources: [target] });
  }

  private put(key: string, tensor: MappedTensor): void {
    this.tensors.set(key, tensor);
    this.paths.set(key, this.checkpoint.paths?.get(key) ?? pathOf(key));
  }

  private refuseOther(target: string, first: string, other: string): void {
    const [a, b] = [this.bytesOf(first), this.bytesOf(other)];
    if (a.equals(b)) return;
    throw new InputError(
      "OPTIMIZER_DIFFERS",
      `${this.checkpoint.path}: "${first}" and "${other}" differ, and would become one`,
      {
        tensor: other,
        file: this.checkpoint.path,
        expected: `the same in both, as they become "${target}"`,
        found: "other values",
        help: "convert without --optimizer: a fused parameter cannot have two of them",
      },
    );
  }

  private bytesOf(key: string): Buffer {
    const entry = this.checkpoint.entries?.get(key);
    if (entry !== undefined) return Buffer.from(entry());
    const bytes = Buffer.alloc(this.checkpoint.tensors.get(key)?.byteLength ?? 0);
    this.checkpoint.read(key, 0, bytes);
    return bytes;
  }
}

const asTheyAre = ({ tensors }: TensorSource): (readonly [string, MappedTensor])[] =>
  [...tensors.values()].map((info) => [info.key, { info, move: wholeMove(info), sources: [info.key] }]);

/** As the trainer nests it: what it saves has one level. */
function pathOf(key: string): readonly [string, string] {
  const dot = key.indexOf(".");
  return [key.slice(0, dot), key.slice(dot + 1)];
}

/**
 * An optimizer knows the parameters of modules, and these may be fused where the model is saved in parts: then they are those
 * of another layout of the trainer, and stay fused where the target's revision has such modules.
 */
function wayOf(checkpoint: Checkpoint, model: Model, to: Layout, parameters: ByParameter): Way {
  const shapesOf = (layout: Layout) =>
    new Map(
      tableTo(model, layout)
        .tensors("native")
        .map(({ key, shape }) => [key, `${shape}`]),
    );
  const keysOf = (layout: Layout) => new Set(shapesOf(layout).keys());
  const natives = layoutsOf(model.family).filter(({ side }) => side !== "hf");
  const candidates = [model.layout, ...natives.filter(({ trainer }) => trainer === model.layout.trainer)];
  const from = candidates.find((layout) => [...parameters.keys()].every((key) => keysOf(layout).has(key)));
  if (from === undefined) {
    const known = keysOf(model.layout);
    const example = [...parameters].find(([parameter]) => !known.has(parameter));
    throw unmapped(example?.[1] ?? "", checkpoint.path);
  }
  if (isSameLayout(model.layout, to)) return { from, to: from };
  const own = shapesOf(to);
  const fused = natives.find((layout) => {
    const shapes = shapesOf(layout);
    const joined = [...shapes].filter(([key]) => !own.has(key));
    const parts = [...own].filter(([key]) => !shapes.has(key)).map(([, shape]) => shape);
    // Of another revision some would be the same under other names.
    const areFused = joined.every(([key, shape]) => parameters.has(key) && !parts.includes(shape));
    return layout.trainer === to.trainer && joined.length > 0 && parts.length > joined.length && areFused;
  });
  return { from, to: fused ?? to };
}

const toHf = (from: Layout, to: Layout): UsageError =>
  new UsageError("OPTIMIZER_TO_HF", "--optimizer: Hugging Face's layout has no place for the state of an optimizer", {
    expected: "from one trainer's layout to another",
    found: `from ${from.name} to ${to.name}`,
    help: "leave out --optimizer; the state stays in the source",
  });

const noOptimizer = ({ path }: Checkpoint): InputError =>
  new InputError("NO_OPTIMIZER", `${path}: holds no state of an optimizer`, {
    file: path,
    expected: "optimizer.state.… beside the model",
    found: "the model alone",
    help: "leave out --optimizer, or give the folder of a step in the middle of training",
  });

const unmapped = (key: string, path: string): InputError =>
  new InputError("OPTIMIZER_UNMAPPED", `${path}: "${key}": no layout of the trainer has a parameter of this name`, {
    tensor: key,
    file: path,
    expected: "state of the model's parameters",
    found: JSON.stringify(key),
    help: "convert without --optimizer, and begin its state anew",
  });

function refuseLost(byParameter: ByParameter, origins: ReadonlyMap<string, ReadonlySet<string>>, path: string): void {
  const used = new Set([...origins.values()].flatMap((each) => [...each]));
  const lost = [...byParameter].find(([parameter]) => !used.has(parameter));
  if (lost !== undefined) throw unmapped(lost[1], path);
}

const inPart = (key: string, path: string): InputError =>
  new InputError("OPTIMIZER_UNMAPPED", `${path}: the optimizer has state of a part of "${key}" alone`, {
    tensor: key,
    file: path,
    expected: "state of all that it is made of, or of none",
    found: "of a part",
    help: "a part was frozen, and the target's layout has it in one parameter: convert without --optimizer",
  });

const otherShape = (key: string, kind: string, shape: readonly (number | null)[], info: TensorInfo): InputError =>
  new InputError("OPTIMIZER_SHAPE", `"${key}": this optimizer's ${kind} has not the shape of its parameter`, {
    tensor: key,
    expected: `[${shape.join(", ")}]`,
    found: `[${info.shape.join(", ")}]`,
    help: "only state of each element can follow its weight, as of Adam and SGD: convert without --optimizer",
  });

// One side of a parity run: a model seen through its table.

import type { WeightSource } from "../../numerics/backend.ts";
import type { Forward, ForwardInput } from "../../numerics/graph.ts";
import { type ForwardPlan, planForward, type TensorShape } from "../../numerics/shapes/plan.ts";
import { elementCount } from "../base/dtype.ts";
import { InputError } from "../base/errors.ts";
import { runAtOnce } from "../base/steps.ts";
import type { Layout } from "../family/layout.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import type { ConfigFile } from "../model/configs/config-files.ts";
import { asHf, type HfView } from "../views/as-hf.ts";
import { checkTie } from "../views/checks.ts";
import type { ViewedModel } from "../views/tables.ts";
import type { TensorSource } from "../views/tensor-source.ts";

/** What parity needs of a model. */
export interface ParityModel extends ViewedModel {
  readonly checkpoint: Pick<Checkpoint, "path" | "format">;
  /** Absent for a model that was not read from files. */
  readonly stored?: { readonly config: ConfigFile; readonly notes?: readonly string[] } | undefined;
}

/** The view that `SideWeights` takes: the first fault is thrown, and weights of several dtypes are computed with as they are. */
export const parityView = (model: ParityModel): HfView => asHf(model, { mixedDtypes: true });

/** A tensor that repeats another. */
interface Tie {
  readonly alias: string;
  readonly of: string;
}

/** A weight, the tensor that holds it, and at which of its bytes it begins. */
interface Place {
  readonly header: TensorShape;
  readonly stored: string;
  readonly begin: number;
}

/** The weights of a side by their canonical keys, complete and of the shapes that the config gives. */
export class SideWeights {
  readonly path: string;
  readonly layout: Layout;
  /** The side as HF has it. */
  readonly view: HfView;
  /** By the keys of the layout: those of the files, where the files are in its own order of dims. */
  private readonly source: TensorSource;
  /** Canonical key → key in `source`, where they differ. */
  private readonly spelling: ReadonlyMap<string, string>;
  /** Buffers that a trainer makes itself where the checkpoint has none. */
  private readonly buffers: ReadonlyMap<string, { readonly shape: readonly number[]; readonly value: number }>;

  /** @throws InputError MISSING_TENSOR, UNKNOWN_TENSOR or SHAPE_MISMATCH, naming the tensor */
  constructor(model: ParityModel, view = parityView(model)) {
    const { layout, table, source } = view.model;
    const { order, spelling } = view.plan;
    this.path = model.checkpoint.path;
    this.layout = layout;
    this.view = view;
    const isReordered = layout.side === "hf" && order !== null;
    this.source = isReordered ? view.source : source;
    this.spelling = isReordered ? new Map() : spelling;
    this.buffers = new Map(
      table.tensors(layout.side, source.tensors).flatMap(({ key, shape, recreate: value }) => {
        return value === undefined ? [] : [[key, { shape: shape.map((size) => size ?? 0), value }] as const];
      }),
    );
  }

  /** Tensors that the forward pass does not need, with the reason. */
  get ignored(): readonly { readonly key: string; readonly reason: string }[] {
    return this.view.plan.dropped.map(({ key, reason }) => ({ key, reason }));
  }

  /** The plan of `forward` for an input. @throws InputError ID_OUT_OF_RANGE */
  plan(forward: Forward, input: ForwardInput): ForwardPlan {
    return planForward(forward, (key) => this.header(key), { ...input, has: (key) => this.has(key) });
  }

  has(key: string): boolean {
    return this.placeOf(key) !== undefined;
  }

  /** Where the files hold a weight. */
  private placeOf(key: string): Place | undefined {
    const info = this.source.tensors.get(this.spelling.get(key) ?? key);
    if (info !== undefined) return { header: info, stored: info.key, begin: 0 };
    const stack = this.layout.side === "native" ? (this.layout.stackOf?.(key) ?? null) : null;
    const all = stack === null ? undefined : this.source.tensors.get(this.spelling.get(stack.key) ?? stack.key);
    if (stack === null || all === undefined || stack.row >= (all.shape[0] ?? 0)) return undefined;
    const row = all.byteLength / all.shape[0]!;
    return { header: { ...all, key, shape: all.shape.slice(1) }, stored: all.key, begin: stack.row * row };
  }

  weight(key: string): WeightSource {
    const place = this.placeOf(key);
    if (place !== undefined) {
      const { header, stored, begin: first } = place;
      return { ...header, read: (begin, target) => this.source.read(stored, first + begin, target) };
    }
    const header = this.header(key);
    const buffer = this.missingBuffer(key);
    if (buffer) {
      const bytes = new Uint8Array(
        Float32Array.from({ length: elementCount(buffer.shape) }, () => buffer.value).buffer,
      );
      return { ...header, read: (begin, target) => target.set(bytes.subarray(begin, begin + target.length)) };
    }
    throw new RangeError(`no weight ${key}`);
  }

  /** Key in the checkpoint, dtype and shape of a weight by its canonical key. */
  private header(key: string): TensorShape {
    const place = this.placeOf(key);
    if (place !== undefined) return place.header;
    const buffer = this.missingBuffer(key);
    if (buffer !== undefined) return { key, dtype: "F32", shape: buffer.shape };
    throw new InputError("MISSING_TENSOR", `${this.path}: no tensor "${key}", which the forward pass needs`, {
      tensor: key,
      file: this.path,
      expected: `"${key}"`,
      found: `${this.source.tensors.size} tensors, none of that name`,
      help: "the checkpoint is incomplete, or its config (or --layout) belongs to another model",
    });
  }

  private missingBuffer(key: string) {
    return this.has(key) ? undefined : this.buffers.get(key);
  }

  /** Keys of tensors that no step of `plan` reads, aliases and ignored ones aside. */
  unused(plan: ForwardPlan): string[] {
    const known = new Set([
      ...plan.steps.flatMap((step) => step.weights.flatMap((key) => this.placeOf(key)?.stored ?? [])),
      ...this.view.plan.dropped.map(({ key }) => key),
      ...this.view.plan.equalities.map(({ alias }) => alias),
    ]);
    return [...this.source.tensors.keys()].filter((key) => !known.has(key));
  }

  /** Aliases whose bytes are not those of the tensor that they repeat. */
  brokenTies(): { readonly alias: string; readonly of: string }[] {
    const { model, plan } = this.view;
    return plan.equalities.filter((tie) => runAtOnce(checkTie(model.source, tie)) !== null);
  }

  /** Whether the tensors of this side are equal that `other` has as one. */
  hasTiesOf(other: SideWeights): boolean {
    const stored = this.tiesStored(other);
    return stored.length > 0 && stored.every((tie) => this.isEqualTie(tie));
  }

  /** Keys of tensors here that `other` has as one with another, and that are equal to it. */
  repeatsOf(other: SideWeights): string[] {
    return this.tiesStored(other).flatMap((tie) => (this.isEqualTie(tie) ? [tie.alias] : []));
  }

  /** What `other` has as one tensor and this side as two. */
  private tiesStored({ view: { model, source } }: SideWeights): Tie[] {
    const ties = model.table.tensors("hf").flatMap(({ key: alias, of }) => (of === undefined ? [] : [{ alias, of }]));
    const own = this.view.source.tensors;
    return ties.filter(({ alias, of }) => own.has(alias) && own.has(of) && source.tensors.has(of));
  }

  private isEqualTie(tie: Tie): boolean {
    return runAtOnce(checkTie(this.view.source, { ...tie, reason: "tied embeddings" })) === null;
  }

  /** The dtype of most values. */
  get dtype(): string {
    const bytes = new Map<string, number>();
    for (const { dtype, byteLength } of this.source.tensors.values())
      bytes.set(dtype, (bytes.get(dtype) ?? 0) + byteLength);
    return [...bytes].sort((a, b) => b[1] - a[1])[0]?.[0] ?? "F32";
  }
}

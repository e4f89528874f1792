// One side of a parity run: a checkpoint seen through its family's table.

import type { WeightSource } from "../../numerics/backend.ts";
import type { Forward, ForwardInput } from "../../numerics/graph.ts";
import { type ForwardPlan, planForward, type TensorShape } from "../../numerics/shapes/plan.ts";
import { elementCount } from "../base/dtype.ts";
import { InputError } from "../base/errors.ts";
import { runAtOnce } from "../base/steps.ts";
import { type Family, tableLayout } from "../family/family.ts";
import type { Layout } from "../family/layout.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import type { TablePlan } from "../table/move.ts";
import { inCanonicalOrder } from "../views/canonical-order.ts";
import { checkTie } from "../views/checks.ts";
import { tableOf } from "../views/mapping.ts";

/** A checkpoint of a known family and layout. */
export interface ParitySide {
  readonly checkpoint: Checkpoint;
  readonly family: Family;
  /** At the config of `family`. */
  readonly layout: Layout;
  /** The model's tensors by the keys of the layout, where the checkpoint has others too or names them otherwise. */
  readonly model?: Pick<Checkpoint, "tensors" | "read">;
}

/** The weights of a side by their canonical keys, complete and of the shapes that the config gives. */
export class SideWeights {
  readonly path: string;
  readonly layout: Layout;
  private readonly model: Pick<Checkpoint, "tensors" | "read">;
  private readonly table: TablePlan;
  /** Buffers that a trainer makes itself where the checkpoint has none. */
  private readonly buffers: ReadonlyMap<string, { readonly shape: readonly number[]; readonly value: number }>;

  /** @throws InputError MISSING_TENSOR, UNKNOWN_TENSOR or SHAPE_MISMATCH, naming the tensor */
  constructor({ checkpoint, family, layout, model = checkpoint }: ParitySide) {
    this.path = checkpoint.path;
    this.layout = layout;
    const isHf = layout.side === "hf";
    const table = tableOf(tableLayout(family, layout));
    const planned = table.plan(isHf ? "fromHf" : "toHf", model.tensors, { mixedDtypes: true });
    const isCanonical = !isHf || planned.order === null;
    this.model = isCanonical ? model : inCanonicalOrder(family, model);
    this.table = isCanonical ? planned : table.plan("fromHf", this.model.tensors, { mixedDtypes: true });
    this.buffers = new Map(
      table.tensors(layout.side, model.tensors).flatMap(({ key, shape, recreate: value }) => {
        return value === undefined ? [] : [[key, { shape: shape.map((size) => size ?? 0), value }] as const];
      }),
    );
  }

  /** Tensors that the forward pass does not need, with the reason. */
  get ignored(): readonly { readonly key: string; readonly reason: string }[] {
    return this.table.dropped.map(({ key, reason }) => ({ key, reason }));
  }

  /** The plan of `forward` for an input. @throws InputError ID_OUT_OF_RANGE */
  plan(forward: Forward, input: ForwardInput): ForwardPlan {
    return planForward(forward, (key) => this.header(key), { ...input, has: (key) => this.has(key) });
  }

  has(key: string): boolean {
    return this.model.tensors.has(this.table.spelling.get(key) ?? key);
  }

  weight(key: string): WeightSource {
    const header = this.header(key);
    const buffer = this.missingBuffer(key);
    if (buffer) {
      const bytes = new Uint8Array(
        Float32Array.from({ length: elementCount(buffer.shape) }, () => buffer.value).buffer,
      );
      return { ...header, read: (begin, target) => target.set(bytes.subarray(begin, begin + target.length)) };
    }
    return { ...header, read: (begin, target) => this.model.read(header.key, begin, target) };
  }

  /** Key in the checkpoint, dtype and shape of a weight by its canonical key. */
  private header(key: string): TensorShape {
    const info = this.model.tensors.get(this.table.spelling.get(key) ?? key);
    if (info !== undefined) return info;
    const buffer = this.missingBuffer(key);
    if (buffer !== undefined) return { key, dtype: "F32", shape: buffer.shape };
    throw new InputError("MISSING_TENSOR", `${this.path}: no tensor "${key}", which the forward pass needs`, {
      tensor: key,
      file: this.path,
      expected: `"${key}"`,
      found: `${this.model.tensors.size} tensors, none of that name`,
      help: "the checkpoint is incomplete, or its config (or --layout) belongs to another model",
    });
  }

  private missingBuffer(key: string) {
    return this.has(key) ? undefined : this.buffers.get(key);
  }

  /** Keys of tensors that no step of `plan` reads, aliases and ignored ones aside. */
  unused(plan: ForwardPlan): string[] {
    const known = new Set([
      ...plan.steps.flatMap((step) => step.weights.map((key) => this.table.spelling.get(key) ?? key)),
      ...this.table.dropped.map(({ key }) => key),
      ...this.table.equalities.map(({ alias }) => alias),
    ]);
    return [...this.model.tensors.keys()].filter((key) => !known.has(key));
  }

  /** Aliases whose bytes are not those of the tensor that they repeat. */
  brokenTies(): { readonly alias: string; readonly of: string }[] {
    return this.table.equalities.filter((tie) => runAtOnce(checkTie(this.model, tie)) !== null);
  }

  /** The dtype of most values. */
  get dtype(): string {
    const bytes = new Map<string, number>();
    for (const { dtype, byteLength } of this.model.tensors.values())
      bytes.set(dtype, (bytes.get(dtype) ?? 0) + byteLength);
    return [...bytes].sort((a, b) => b[1] - a[1])[0]?.[0] ?? "F32";
  }
}

// What the files of one step say: names and shapes of the parameters, and the flat tensors that they lie in.
// Source: deepspeedai/DeepSpeed@v0.19.8:deepspeed/utils/zero_to_fp32.py (`parse_model_states`, `parse_optim_states`)
import { bitsOf, type Dtype, elementCount } from "../../base/dtype.ts";
import { type Refusal, refuse, type Where } from "../io/refuse.ts";
import {
  isSize,
  isSizes,
  isTuple,
  kindOf,
  PickleDict,
  PickleList,
  PickleObject,
  type PickleValue,
} from "../pickle/value.ts";
import type { TorchObject } from "../pt/object.ts";
import { Storages } from "../pt/stored-tensors.ts";
import { ChunkedTensor } from "../torch/chunked-tensor.ts";
import { tensorView } from "../torch/rebuild.ts";
import { isTensor } from "../torch/tensor-types.ts";
import type { StoredRecord } from "../zip/stored-record.ts";

/** A file of one rank, its pickle read. */
export interface StateFile {
  /** Name in the folder. */
  readonly name: string;
  readonly where: Where;
  readonly object: TorchObject;
}

/** A tensor in one of the files. */
export interface FileTensor {
  readonly file: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly data: ChunkedTensor;
  readonly record: StoredRecord;
}

export type Shapes = ReadonlyMap<string, readonly number[]>;

export interface ModelStates {
  readonly file: StateFile;
  /** The module's state dict; under ZeRO-3 what is partitioned is empty. */
  readonly module: ReadonlyMap<string, FileTensor>;
  /** Of each group of the optimizer, in the order in which they lie in its flat tensors. */
  readonly shapes: readonly Shapes[];
  readonly frozenShapes: Shapes;
  readonly frozen: ReadonlyMap<string, FileTensor>;
  readonly buffers: ReadonlySet<string>;
  /** A name that is not stored, and the one whose tensor it is. */
  readonly shared: readonly (readonly [string, string])[];
  /** What the module saves beside tensors. */
  readonly extras: readonly string[];
}

export interface OptimizerStates {
  readonly file: StateFile;
  /** ZeRO-1 and 2 cut each group's flat tensor; ZeRO-3 cuts each parameter. */
  readonly cuts: "groups" | "parameters";
  readonly stage: number;
  readonly ranks: number;
  /** This rank's part of each group. */
  readonly masters: readonly FileTensor[];
  /** What the optimizer keeps for each group: `exp_avg` and the like. */
  readonly moments: readonly ReadonlyMap<string, FileTensor>[];
  /** Elements after each parameter of each group that are none of its own; none unless given. */
  readonly gaps: readonly (readonly number[])[] | null;
  /** Where this rank's own record says that parameters lie in its part, of each group. */
  readonly slices: readonly ReadonlyMap<string, { readonly from: number; readonly count: number }>[] | null;
}

/** Reads values of a file; what is not as DeepSpeed writes it is refused. */
class Reader {
  private readonly storages: Storages;

  constructor(readonly file: StateFile) {
    this.storages = new Storages(file.object.storage);
  }

  refuse(what: string, details: Refusal = {}) {
    return refuse(this.file.where, "DEEPSPEED_STATE", what, {
      help: "the file is damaged or not DeepSpeed's: copy it again, or save again",
      ...details,
    });
  }

  dict(value: PickleValue | undefined, name: string): PickleDict {
    if (value instanceof PickleDict) return value;
    throw this.refuse(`its ${name} is a ${kindOf(value)} instead of a dict`);
  }

  list(value: PickleValue | undefined, name: string): readonly PickleValue[] {
    if (value instanceof PickleList) return value.items;
    if (isTuple(value)) return value;
    throw this.refuse(`its ${name} is a ${kindOf(value)} instead of a list`);
  }

  *named(dict: PickleDict, name: string): Generator<[string, PickleValue]> {
    for (const [key, value] of dict.entries()) {
      if (typeof key !== "string") throw this.refuse(`its ${name} has a ${kindOf(key)} for a name`);
      yield [key, value];
    }
  }

  shapes(value: PickleValue | undefined, name: string): Shapes {
    const found = new Map<string, readonly number[]>();
    for (const [key, shape] of this.named(this.dict(value, name), name)) {
      const sizes = shape instanceof PickleList ? shape.items : shape;
      if (!isSizes(sizes)) throw this.refuse(`its ${name} has no shape for ${JSON.stringify(key)}`);
      found.set(key, sizes);
    }
    return found;
  }

  tensors(value: PickleValue | undefined, name: string): Map<string, FileTensor> {
    const found = new Map<string, FileTensor>();
    for (const [key, tensor] of this.named(this.dict(value, name), name)) {
      if (tensor instanceof PickleObject && isTensor(tensor)) found.set(key, this.tensor(tensor, key));
      else if (tensor !== null) throw this.refuse(`its ${name} has a ${kindOf(tensor)} for ${JSON.stringify(key)}`);
    }
    return found;
  }

  tensor(value: PickleValue | undefined, name: string): FileTensor {
    if (value === undefined || !isTensor(value))
      throw this.refuse(`its ${name} is a ${kindOf(value)} instead of a tensor`);
    const where = { file: this.file.where.file, tensor: name };
    const view = tensorView(value, where);
    const { dtype, shape } = view;
    const strided = this.storages.view(view, where);
    const chunk = { offsets: shape.map(() => 0), sizes: shape, open: () => strided };
    const data = new ChunkedTensor(shape, bitsOf(dtype) / 8, [chunk]);
    return { file: where.file, dtype, shape, data, record: strided.record };
  }
}

/** @throws InputError DEEPSPEED_STATE, and what reading a tensor's pickle throws */
export function modelStates(file: StateFile): ModelStates {
  const reader = new Reader(file);
  const root = reader.dict(file.object.value, "state");
  const shapes = root.get("param_shapes") ?? null;
  // A dict of all groups until DeepSpeed 0.5.
  const groups = shapes === null ? [] : shapes instanceof PickleDict ? [shapes] : reader.list(shapes, "param_shapes");
  const optional = (name: string): PickleValue => root.get(name) ?? new PickleDict();
  const buffers = root.get("buffer_names") ?? null;
  const [module, extras] = [new PickleDict(), [] as string[]];
  for (const [key, value] of reader.named(reader.dict(root.get("module"), "module"), "module")) {
    if (key.endsWith("_extra_state")) extras.push(key);
    else module.items.push(key, value);
  }
  return {
    file,
    module: reader.tensors(module, "module"),
    shapes: groups.map((group) => reader.shapes(group, "param_shapes")),
    frozenShapes: reader.shapes(optional("frozen_param_shapes"), "frozen_param_shapes"),
    frozen: reader.tensors(optional("frozen_param_fragments"), "frozen_param_fragments"),
    buffers: new Set(
      buffers === null ? [] : reader.list(buffers, "buffer_names").filter((name) => typeof name === "string"),
    ),
    shared: [...reader.named(reader.dict(optional("shared_params"), "shared_params"), "shared_params")].map(
      ([alias, of]) => {
        if (typeof of !== "string") throw reader.refuse(`its shared_params has no name for ${JSON.stringify(alias)}`);
        return [alias, of] as const;
      },
    ),
    extras,
  };
}

/** What is joined; the rest of the file is not the model's. */
export const READ: ReadonlySet<string> = new Set([
  "module",
  "param_shapes",
  "frozen_param_shapes",
  "frozen_param_fragments",
  "buffer_names",
  "shared_params",
]);

/** @throws InputError DEEPSPEED_STATE, and what reading a tensor's pickle throws */
export function optimizerStates(file: StateFile): OptimizerStates {
  const reader = new Reader(file);
  const root = reader.dict(file.object.value, "state");
  const state = reader.dict(root.get("optimizer_state_dict"), "optimizer_state_dict");
  const byParameter = state.get("fp32_flat_groups");
  // The optimizer for bf16 with f32 gradients names no stage; it cuts as ZeRO-1 does.
  const stage = numberOf(state.get("zero_stage")) ?? 1;
  const masters = byParameter ?? state.get("single_partition_of_fp32_groups");
  if (masters === undefined || stage < 1 || stage > 3 || (byParameter === undefined) !== stage < 3)
    throw reader.refuse(`it holds no f32 weights as ZeRO keeps them (stage ${stage})`, {
      expected: "single_partition_of_fp32_groups, or fp32_flat_groups of ZeRO-3",
      found: [...state.entries()]
        .map(([key]) => String(key))
        .slice(0, 8)
        .join(", "),
      help: "take the weights of training's precision: give mp_rank_00_model_states.pt",
    });
  const parts = reader.list(masters, "f32 weights").map((part, i) => reader.tensor(part, `f32 weights of group ${i}`));
  const base = state.get(byParameter === undefined ? "base_optimizer_state" : "optimizer_state_dict");
  return {
    file,
    cuts: byParameter === undefined ? "groups" : "parameters",
    stage,
    ranks: ranksOf(state.get("partition_count"), reader),
    masters: parts,
    moments: parts.map(({ shape }, i) => momentsOf(momentsDict(base, i), shape, reader)),
    gaps: gapsOf(state.get("param_alignment_paddings"), reader),
    slices: isRoundRobin(root) ? null : slicesOf(state.get("param_slice_mappings"), reader),
  };
}

/** An integer, or a member of an enum of them. */
function numberOf(value: PickleValue | undefined): number | undefined {
  const inner = value instanceof PickleObject ? value.args[0] : value;
  return typeof inner === "number" ? inner : undefined;
}

function ranksOf(count: PickleValue | undefined, reader: Reader): number {
  const counts = isSize(count) ? [count] : reader.list(count, "partition_count");
  if (counts.length === 0 || !counts.every(isSize)) throw reader.refuse("its partition_count is no number of ranks");
  return Math.max(...counts);
}

/** With `round_robin_gradients` DeepSpeed notes the places of another order than it saves in. */
function isRoundRobin(root: PickleDict): boolean {
  const config = root.get("ds_config");
  const zero = config instanceof PickleDict ? config.get("zero_optimization") : undefined;
  return zero instanceof PickleDict && zero.get("round_robin_gradients") === true;
}

/** Of a group: in a dict by number, or, of an elastic checkpoint, in a list. */
function momentsDict(base: PickleValue | undefined, group: number): PickleDict | null {
  if (base instanceof PickleList) {
    const own = base.items[group];
    return own instanceof PickleDict ? own : null;
  }
  const state = base instanceof PickleDict ? base.get("state") : undefined;
  if (!(state instanceof PickleDict)) return null;
  for (const [key, value] of state.entries()) if (key === group && value instanceof PickleDict) return value;
  return null;
}

/** What lies as the weights do, and what is one number for all of them. */
function momentsOf(state: PickleDict | null, shape: readonly number[], reader: Reader): Map<string, FileTensor> {
  const found = new Map<string, FileTensor>();
  for (const [key, value] of state?.entries() ?? []) {
    if (typeof key !== "string" || !isTensor(value)) continue;
    const tensor = reader.tensor(value, `optimizer state ${key}`);
    // Of the weights, padding behind them is cut off; of these it need not be.
    const isFlat = tensor.shape.length === 1 && elementCount(tensor.shape) >= elementCount(shape);
    if (tensor.shape.length === 0 || isFlat) found.set(key, tensor);
  }
  return found;
}

function gapsOf(value: PickleValue | undefined, reader: Reader): readonly (readonly number[])[] | null {
  if (value === undefined || value === null) return null;
  return reader.list(value, "param_alignment_paddings").map((group) => {
    const gaps = reader.list(group, "param_alignment_paddings");
    if (gaps.every(isSize)) return gaps;
    throw reader.refuse("its param_alignment_paddings are no sizes");
  });
}

function slicesOf(value: PickleValue | undefined, reader: Reader): OptimizerStates["slices"] {
  if (value === undefined || value === null) return null;
  return reader.list(value, "param_slice_mappings").map((group) => {
    const found = new Map<string, { from: number; count: number }>();
    for (const [key, address] of reader.named(reader.dict(group, "param_slice_mappings"), "param_slice_mappings")) {
      const at = address instanceof PickleObject ? address : null;
      const [from, count] = [at?.field("start"), at?.field("numel")];
      if (!isSize(from) || !isSize(count)) throw reader.refuse(`its param_slice_mappings has no place for "${key}"`);
      found.set(key, { from, count });
    }
    return found;
  });
}

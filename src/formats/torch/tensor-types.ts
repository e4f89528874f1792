// Kinds of tensors that a pickle can hold: plain ones, and those whose content is more, or less, than an array.
// Source: pytorch/pytorch@v2.13.0:torch/_tensor.py (_reduce_ex_internal), torch/_utils.py, torch/nn/parameter.py
import type { InputError } from "../../base/errors.ts";
import { refuse, type Where } from "../io/refuse.ts";
import type { GlobalRule } from "../pickle/machine.ts";
import { isTuple, kindOf, PickleDict, PickleGlobal, PickleObject, type PickleValue } from "../pickle/value.ts";
import { DTYPE_OF_GLOBAL, unsupportedDtype } from "./dtype.ts";

export const TENSOR_TYPES = { rebuildFromType: "torch._tensor _rebuild_from_type_v2" } as const;

const PLAIN: ReadonlySet<string> = new Set(
  ["_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"].map((name) => `torch._utils ${name}`),
);

const PARAMETERS: ReadonlySet<string> = new Set(
  ["_rebuild_parameter", "_rebuild_parameter_with_state"].map((name) => `torch._utils ${name}`),
);
/** Of a tensor that was on a device without storages. */
const ON_DEVICE = "torch._utils _rebuild_device_tensor_from_cpu_tensor";
const isWrapper = (tensor: PickleObject): boolean => PARAMETERS.has(tensor.global) || tensor.global === ON_DEVICE;

/** Classes that add nothing to the array that they are. */
const PLAIN_CLASSES: ReadonlySet<string> = new Set([
  "torch Tensor",
  "torch._tensor Tensor",
  "torch.nn.parameter Parameter",
  "torch.nn.parameter Buffer",
]);

/** Tensors that are no array with data, in words. Nothing here has a place for them. */
const NOT_DENSE: ReadonlyMap<string, string> = new Map([
  ["torch._utils _rebuild_sparse_tensor", "a sparse tensor"],
  ["torch._utils _rebuild_nested_tensor", "a nested tensor"],
  ["torch._utils _rebuild_meta_tensor_no_storage", "a tensor on the meta device, which has no data"],
]);

/**
 * `_rebuild_from_type_v2(function, class, args, state)`: a tensor of a class, or with attributes. Of a plain class it is
 * what the function makes of the args, with the attributes as its state.
 */
export const rebuildFromType: GlobalRule = (args) => {
  const [make, type, inner, state] = args;
  const isPlain = type instanceof PickleGlobal && PLAIN_CLASSES.has(type.name);
  if (!(isPlain && make instanceof PickleGlobal && isTuple(inner)))
    return new PickleObject(TENSOR_TYPES.rebuildFromType, args);
  const tensor = new PickleObject(make.name, inner);
  tensor.state = state;
  return tensor;
};

/** Whether a tensor is of a class that adds something to its array, by the class's name. */
export function isOfClass({ global, args: [, type] }: PickleObject, isMeant: (name: string) => boolean): boolean {
  return global === TENSOR_TYPES.rebuildFromType && type instanceof PickleGlobal && isMeant(type.name);
}

/** Fields of an object whose state is a dict, or a pair of nothing and a dict: what has `__slots__` is saved so. */
export function fieldsOf(state: PickleValue | undefined): PickleDict | undefined {
  const found = isTuple(state) ? state[1] : state;
  return found instanceof PickleDict ? found : undefined;
}

export const isTensor = (value: PickleValue): value is PickleObject =>
  value instanceof PickleObject && /^torch\._(?:utils|tensor) _rebuild_/.test(value.global);

/** The array that a tensor is, out of its wrappers; null where it is more or less than one. */
export function plainTensor(tensor: PickleObject): PickleObject | null {
  const inner = unwrapped(tensor);
  return PLAIN.has(inner.global) ? inner : null;
}

/** What a tensor is that has no array of data: it may be left out by name; null for any other. */
export const notDense = (tensor: PickleObject): string | null => NOT_DENSE.get(unwrapped(tensor).global) ?? null;

/** What a tensor carries beside its numbers: attributes, hooks. */
export function attributesOf(tensor: PickleObject): readonly PickleValue[] {
  const own = tensor.state === undefined ? [] : [tensor.state];
  if (!isWrapper(tensor)) return own;
  const inner = wrapped(tensor);
  return [...own, ...tensor.args.slice(1), ...(inner === null || isWrapper(inner) ? [] : attributesOf(inner))];
}

const wrapped = ({ args: [inner] }: PickleObject): PickleObject | null =>
  inner !== undefined && isTensor(inner) ? inner : null;

/** Out of a parameter, and then off its device. */
function unwrapped(tensor: PickleObject): PickleObject {
  const inner = PARAMETERS.has(tensor.global) ? (wrapped(tensor) ?? tensor) : tensor;
  return inner.global === ON_DEVICE ? (wrapped(inner) ?? inner) : inner;
}

/** Of a global that is a dtype of torch but none of ours; null for any other. */
export function dtypeUnsupported(global: string, where: Where): InputError | null {
  const dtype = DTYPE_OF_GLOBAL.has(global) ? undefined : unsupportedDtype(global);
  if (dtype === undefined) return null;
  return refuse(where, "DTYPE_UNSUPPORTED", `dtype ${dtype} is not supported`, {
    expected: "a dtype that safetensors has, one element in one or more bytes",
    found: dtype,
    help: "convert the tensor to another dtype in torch, or leave it out, and save it again",
  });
}

/** Why a tensor that is no plain one is not read. */
export function unreadableTensor(tensor: PickleObject, where: Where): InputError {
  const inner = unwrapped(tensor);
  const [first, type] = inner.args;
  if (inner.global === "torch._utils _rebuild_qtensor") return quantisedTensor(inner, where);
  if (isWrapper(inner))
    return refuse(where, "TENSOR_PICKLE", `a parameter wraps a ${kindOf(first)} instead of a tensor`);
  const named = inner.global === TENSOR_TYPES.rebuildFromType ? type : first;
  const kind = notDense(inner) ?? `a ${kindOf(named instanceof PickleGlobal ? named : inner)}`;
  return refuse(where, "TENSOR_SUBCLASS", `is ${kind}, not a plain tensor`, {
    expected: "a dense tensor of torch",
    found: kind,
    help: helpFor(kind),
  });
}

const helpFor = (kind: string): string =>
  kind.includes("DTensor")
    ? "this is one rank's part of it: save with torch.distributed.checkpoint, or call .full_tensor() before torch.save"
    : kind.includes("torchao")
      ? "call .dequantize() on it in torch, and save the plain tensors"
      : "save plain tensors: what it means beyond its numbers is known to its class alone";

function quantisedTensor({ args: [storage] }: PickleObject, where: Where): InputError {
  const id = storage instanceof Object && "id" in storage && isTuple(storage.id) ? storage.id : [];
  const [, kind] = id;
  const dtype = kind instanceof PickleGlobal ? dtypeUnsupported(kind.name, where) : null;
  return (
    dtype ??
    refuse(where, "TENSOR_SUBCLASS", "is a quantised tensor of torch, not a plain one", {
      help: "call .dequantize() on it in torch, and save it again",
    })
  );
}

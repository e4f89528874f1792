// What a pickle says of a tensor: `_rebuild_tensor_v2(storage, storage_offset, size, stride, …)` and its relatives.
// Source: pytorch/pytorch@v2.13.0:torch/_utils.py
import { bitsOf, type Dtype } from "../../base/dtype.ts";
import { type Refusal, refuse, type Where } from "../io/refuse.ts";
import type { GlobalRule } from "../pickle/machine.ts";
import {
  isSize,
  isSizes,
  isTuple,
  kindOf,
  PickleDict,
  PickleGlobal,
  PickleList,
  type PickleObject,
  PicklePersistent,
  type PickleTuple,
  type PickleValue,
} from "../pickle/value.ts";
import { DTYPE_OF_GLOBAL, DTYPE_OF_STORAGE, storageWidth } from "./dtype.ts";
import { dtypeUnsupported, plainTensor, rebuildFromType, TENSOR_TYPES, unreadableTensor } from "./tensor-types.ts";

/** A tensor as a strided view of a storage; strides and offset in elements. */
export interface TensorView {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
  readonly storage: StorageRef;
}

export interface StorageRef {
  readonly key: string;
  readonly byteLength: number;
  /** Where a legacy file's storage begins in the one it is a view of, in bytes. */
  readonly viewOf?: { readonly offset: number; readonly byteLength: number };
}

/** torch.Size(sizes); whether they are sizes is for the reader of the tensor to say. */
export const torchSize: GlobalRule = (args) => {
  const sizes = args[0] instanceof PickleList ? args[0].items : args[0];
  return args.length === 1 && isTuple(sizes) ? sizes : undefined;
};

/** OrderedDict() or OrderedDict([[key, value], …]) */
export const orderedDict: GlobalRule = (args) => {
  const dict = new PickleDict();
  if (args.length === 0) return dict;
  const [pairs] = args;
  if (args.length > 1 || !(pairs instanceof PickleList)) return undefined;
  for (const pair of pairs.items) {
    const items = pair instanceof PickleList ? pair.items : pair;
    if (!isTuple(items) || items.length !== 2) return undefined;
    dict.items.push(items[0]!, items[1]!);
  }
  return dict;
};

const UNTYPED = "torch.storage UntypedStorage";

/** The globals of tensors that make something else than an object of their name. */
export const TENSOR_GLOBALS: ReadonlyMap<string, GlobalRule> = new Map<string, GlobalRule>([
  [TENSOR_TYPES.rebuildFromType, rebuildFromType],
  ["collections OrderedDict", orderedDict],
  ["torch Size", torchSize],
  [UNTYPED, "name"],
  ...[...DTYPE_OF_STORAGE.keys(), ...DTYPE_OF_GLOBAL.keys()].map((name) => [name, "name"] as const),
]);

/**
 * The view that a tensor's pickle describes, with every number checked against the storage it claims.
 * @throws InputError
 */
export function tensorView(value: PickleObject, where: Where): TensorView {
  const fail = (what: string, details?: Refusal) => refuse(where, "TENSOR_PICKLE", what, details);
  const tensor = plainTensor(value);
  if (tensor === null) throw unreadableTensor(value, where);
  const [storage, offset, shape, strides] = tensor.args;
  if (!isSize(offset) || !isSizes(shape) || !isSizes(strides) || shape.length !== strides.length) {
    throw fail("the offset, shape or strides of the tensor are not lists of non-negative integers of one length");
  }
  refuseOtherDtype(tensor, storage, where);
  const { dtype, storageRef } = storageOf(tensor, storage, fail);
  refuseLazyBits(tensor, fail);
  const view = { dtype, shape, strides, offset, storage: storageRef };
  refuseOutOfBounds(view, fail);
  return view;
}

function refuseOtherDtype(tensor: PickleObject, storage: PickleValue | undefined, where: Where): void {
  const id = storage instanceof PicklePersistent && isTuple(storage.id) ? storage.id : [];
  for (const named of [tensor.args[6], id[1]]) {
    const other = named instanceof PickleGlobal ? dtypeUnsupported(named.name, where) : null;
    if (other !== null) throw other;
  }
}

type Fail = (what: string, details?: Refusal) => Error;

function storageOf(tensor: PickleObject, storage: PickleValue | undefined, fail: Fail) {
  if (!(storage instanceof PicklePersistent)) throw fail(`the tensor's storage is a ${kindOf(storage)}`);
  const { kind, key, count, viewMetadata } = persistentId(storage.id, fail);
  const given = tensor.global === "torch._utils _rebuild_tensor_v3" ? tensor.args[6] : undefined;
  const dtype = given instanceof PickleGlobal ? DTYPE_OF_GLOBAL.get(given.name) : DTYPE_OF_STORAGE.get(kind);
  if (dtype === undefined) throw fail("the tensor has no dtype that is known here", { found: kind.replace(" ", ".") });
  return { dtype, storageRef: storageRef(key, count, storageWidth(kind), viewMetadata, fail) };
}

function storageRef(key: string, count: number, unit: number, view: PickleValue, fail: Fail): StorageRef {
  if (!Number.isSafeInteger(count * unit)) throw fail(`its storage of ${count} elements is larger than any file`);
  if (view === null) return { key, byteLength: count * unit };
  const [viewKey, offset, size] = isTuple(view) ? view : [];
  if (typeof viewKey !== "string" || !isSize(offset) || !isSize(size) || offset + size > count) {
    throw fail("the view of its storage does not lie inside the storage");
  }
  return { key, byteLength: count * unit, viewOf: { offset: offset * unit, byteLength: size * unit } };
}

/** ("storage", class, key, location, count) and, in legacy files, view metadata. */
function persistentId(id: PickleValue, fail: Fail) {
  const [tag, kind, key, location, count, viewMetadata = null]: PickleTuple = isTuple(id) ? id : [];
  const known = kind instanceof PickleGlobal && (kind.name === UNTYPED || DTYPE_OF_STORAGE.has(kind.name));
  if (tag !== "storage" || !known || typeof key !== "string" || typeof location !== "string" || !isSize(count)) {
    throw fail("a storage is named in a way that torch does not use");
  }
  return { kind: kind.name, key, count, viewMetadata };
}

/** torch has deferred a conjugation or negation: the stored numbers are not the tensor's. */
function refuseLazyBits(tensor: PickleObject, fail: Fail): void {
  const metadata = tensor.args[tensor.global === "torch._utils _rebuild_tensor_v3" ? 7 : 6];
  if (tensor.global === "torch._utils _rebuild_tensor" || metadata === undefined || metadata === null) return;
  if (metadata instanceof PickleDict && metadata.get("conj") !== true && metadata.get("neg") !== true) return;
  throw fail("the tensor's conjugation or negation was put off when it was saved", {
    help: "call .resolve_conj() and .resolve_neg() on it in torch, then save it again",
  });
}

function refuseOutOfBounds(view: TensorView, fail: Fail): void {
  const { shape, strides, storage } = view;
  const count = shape.reduce((product, n) => product * n, 1);
  const bytes = bitsOf(view.dtype) / 8;
  if (shape.some((n) => n === 0)) return;
  if (!Number.isSafeInteger(count * bytes)) throw fail(`its shape [${shape}] has more elements than can be counted`);
  const last = shape.reduce((at, n, axis) => at + (n - 1) * strides[axis]!, view.offset);
  const length = storage.viewOf?.byteLength ?? storage.byteLength;
  if (last * bytes + bytes > length) {
    throw fail("the tensor reaches beyond its storage", {
      expected: `at most ${length} bytes`,
      found: `shape [${shape}], strides [${strides}], offset ${view.offset}`,
    });
  }
}

import { byteLengthOf, type Dtype, elementCount } from "../../base/dtype.ts";
import { InputError } from "../../base/errors.ts";
import { isJsonObject, type JsonObject } from "../../base/json.ts";
import type { OutputFile } from "../output.ts";
import { PickleWriter } from "../pickle/write.ts";
import { type TorchDtype, torchDtype } from "../torch/dtype.ts";
import { rowMajorStrides } from "../torch/strided.ts";
import { type LayoutRecord, layOutZip, planZip, type ZipLayout } from "../zip/plan.ts";

/** What a writer needs to know of a tensor. */
export interface TargetTensor {
  readonly key: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

const PREFIX = "archive/";

const text = (name: string, value: string): LayoutRecord => ({ name: PREFIX + name, bytes: Buffer.from(value) });

/** Records that torch.save writes beside the pickle and the data; of these, torch.load asks for `version`. */
const CONSTANT_RECORDS: readonly LayoutRecord[] = [
  text(".format_version", "1"),
  text(".storage_alignment", "64"),
  text("byteorder", "little"),
  text("version", "3\n"),
];

/**
 * A file of torch.save with one flat dict of tensors, each in a storage of its own, which
 * torch.load(weights_only=True) reads.
 * @param name of the file
 * @param partKey the name of a tensor in the parts of the file; its key unless given
 * @throws InputError for a dtype that torch does not have
 */
export function planTorchFile(
  tensors: Iterable<TargetTensor>,
  name: string,
  partKey = (key: string): string => key,
): OutputFile[] {
  const list = [...tensors];
  const pickle = new PickleWriter();
  pickle.dict(list.entries(), ([i, { key, dtype, shape }]) => {
    pickle.text(key);
    writeTensor(pickle, torchDtypeOf({ key, dtype, shape }), shape, i);
  });
  const sizes = list.map(({ dtype, shape }) => byteLengthOf(dtype, shape));
  const records = sizes.map((byteLength, i) => ({ name: `${PREFIX}data/${i}`, byteLength }));
  const layout = layOutZip([pickleRecord(pickle), ...CONSTANT_RECORDS, ...records]);
  const data = list.map(({ key }, i) => ({ key: partKey(key), ranges: [[0, sizes[i]!] as const] }));
  return [{ name, byteLength: layout.byteLength, parts: planZip(layout, data) }];
}

/**
 * A file of torch.save with plain values in it: text, safe integers, booleans, nulls, lists and objects of these.
 * @param namespaces fields of the outermost object that are namespaces of argparse
 */
export function planTorchValues(
  values: JsonObject | readonly unknown[],
  name: string,
  namespaces: readonly string[] = [],
): OutputFile {
  const pickle = new PickleWriter();
  if (!isJsonObject(values) || namespaces.length === 0) writeValue(pickle, values);
  else
    pickle.dict(Object.entries(values), ([field, value]) => {
      pickle.text(field);
      if (namespaces.includes(field)) pickle.build("argparse Namespace", () => writeValue(pickle, value));
      else writeValue(pickle, value);
    });
  const layout = layOutZip([pickleRecord(pickle), ...CONSTANT_RECORDS]);
  return { name, byteLength: layout.byteLength, parts: planZip(layout, []) };
}

function writeValue(w: PickleWriter, value: unknown): void {
  if (value === null || value === undefined) w.none();
  else if (typeof value === "boolean") w.bool(value);
  else if (typeof value === "string") w.text(value);
  else if (typeof value === "number") w.number(value);
  else if (Array.isArray(value)) w.list(value, (item: unknown) => writeValue(w, item));
  else if (isJsonObject(value))
    w.dict(Object.entries(value), ([name, of]) => {
      w.text(name);
      writeValue(w, of);
    });
  else throw new RangeError(`no plain value: ${typeof value}`);
}

/** `torch.save` of a tensor, without its data: a zip file of its own. */
export function layOutPayload(dtype: TorchDtype, shape: readonly number[]): ZipLayout {
  const pickle = new PickleWriter();
  writeTensor(pickle, dtype, shape, 0);
  const byteLength = byteLengthOf(dtype.dtype, shape);
  return layOutZip([pickleRecord(pickle), ...CONSTANT_RECORDS, { name: `${PREFIX}data/0`, byteLength }]);
}

const pickleRecord = (pickle: PickleWriter): LayoutRecord => ({ name: `${PREFIX}data.pkl`, bytes: pickle.end() });

/** `_rebuild_tensor_v2(storage, 0, size, stride, requires_grad, hooks)`, or v3, which takes the dtype as well. */
function writeTensor(w: PickleWriter, torch: TorchDtype, shape: readonly number[], storage: number): void {
  const { name, dtype, storage: storageClass } = torch;
  const count = storageClass === null ? byteLengthOf(dtype, shape) : elementCount(shape);
  const args = [
    () =>
      writeStorage(w, storageClass === null ? "torch.storage UntypedStorage" : `torch ${storageClass}`, storage, count),
    () => w.int(0),
    () => w.ints(shape),
    () => w.ints(rowMajorStrides(shape)),
    () => w.bool(false),
    () => w.call("collections OrderedDict"),
  ];
  if (storageClass === null) args.push(() => w.global(`torch ${name}`));
  w.call(`torch._utils _rebuild_tensor_v${storageClass === null ? 3 : 2}`, ...args);
}

function writeStorage(w: PickleWriter, storageClass: string, storage: number, count: number): void {
  w.persistent(() =>
    w.tuple(
      () => w.text("storage"),
      () => w.global(storageClass),
      () => w.text(`${storage}`),
      () => w.text("cpu"),
      () => w.int(count),
    ),
  );
}

/** Most dims of a tensor that torch's operations take (`dim_bitset_size`). */
const MOST_DIMS = 64;

/** @throws InputError for a dtype or a shape that torch does not have */
export function torchDtypeOf({ key, dtype, shape }: TargetTensor): TorchDtype {
  const torch = torchDtype(dtype);
  if (shape.length > MOST_DIMS) throw notInTorch(key, `at most ${MOST_DIMS} dimensions`, `${shape.length}`);
  // Beside a dimension of size 0, others may be so large that no stride leads over them.
  if (!rowMajorStrides(shape).every(Number.isSafeInteger))
    throw notInTorch(key, "strides below 2^53", `[${shape.join(", ")}]`);
  if (torch !== undefined) return torch;
  throw new InputError("DTYPE_NOT_IN_TORCH", `tensor "${key}": torch has no dtype for ${dtype}`, {
    tensor: key,
    found: dtype,
    help: "write safetensors instead, or convert the tensor with --dtype",
  });
}

const notInTorch = (key: string, expected: string, found: string): InputError =>
  new InputError("SHAPE_NOT_IN_TORCH", `tensor "${key}": torch has no tensors of its shape`, {
    tensor: key,
    expected,
    found,
    help: "write safetensors instead",
  });

import { InputError } from "../../errors.ts";
import { bitsOf, type Dtype, elementCount } from "../dtype.ts";
import type { OutputFile } from "../output.ts";
import { PickleWriter } from "../pickle/write.ts";
import { rowMajorStrides } from "./strided.ts";
import { type TorchDtype, torchDtype } from "./torch-dtype.ts";
import { type PlannedRecord, type PlannedZip, planZip } from "./zip-plan.ts";

/** What a writer needs to know of a tensor. */
export interface TargetTensor {
  readonly key: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

const PREFIX = "archive/";

const text = (name: string, value: string): PlannedRecord => ({ name: PREFIX + name, bytes: Buffer.from(value) });

/** Records that torch.save writes beside the pickle and the data; of these, torch.load asks for `version`. */
const CONSTANT_RECORDS: readonly PlannedRecord[] = [
  text(".format_version", "1"),
  text(".storage_alignment", "64"),
  text("byteorder", "little"),
  text("version", "3\n"),
];

/**
 * A file of torch.save with one flat dict of tensors, each in a storage of its own, which
 * torch.load(weights_only=True) reads.
 * @param name of the file
 * @throws InputError for a dtype that torch does not have
 */
export function planTorchFile(tensors: Iterable<TargetTensor>, name: string): OutputFile[] {
  const list = [...tensors];
  const pickle = new PickleWriter();
  pickle.dict(list.entries(), ([i, tensor]) => {
    pickle.text(tensor.key);
    writeTensor(pickle, tensor, tensor.shape, i);
  });
  const data = list.map((tensor, i): PlannedRecord => {
    const byteLength = (elementCount(tensor.shape) * bitsOf(tensor.dtype)) / 8;
    return { name: `${PREFIX}data/${i}`, key: tensor.key, ranges: [[0, byteLength]] };
  });
  return [{ name, ...planZip([pickleRecord(pickle), ...CONSTANT_RECORDS, ...data]) }];
}

/**
 * `torch.save` of one chunk of a tensor, as a zip file of its own.
 * @param shape of the chunk
 * @param ranges row-major byte ranges of the tensor that make up the chunk
 */
export function planPayload(
  tensor: TargetTensor,
  shape: readonly number[],
  ranges: readonly (readonly [number, number])[],
): PlannedZip {
  const pickle = new PickleWriter();
  writeTensor(pickle, tensor, shape, 0);
  const data: PlannedRecord = { name: `${PREFIX}data/0`, key: tensor.key, ranges };
  return planZip([pickleRecord(pickle), ...CONSTANT_RECORDS, data]);
}

const pickleRecord = (pickle: PickleWriter): PlannedRecord => ({ name: `${PREFIX}data.pkl`, bytes: pickle.end() });

/** `_rebuild_tensor_v2(storage, 0, size, stride, requires_grad, hooks)`, or v3, which takes the dtype as well. */
function writeTensor(w: PickleWriter, tensor: TargetTensor, shape: readonly number[], storage: number): void {
  const { name, storage: storageClass } = torchDtypeOf(tensor);
  const elements = elementCount(shape);
  const count = storageClass === null ? (elements * bitsOf(tensor.dtype)) / 8 : elements;
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

/** @throws InputError for a dtype that torch does not have */
export function torchDtypeOf(tensor: TargetTensor): TorchDtype {
  const dtype = torchDtype(tensor.dtype);
  if (dtype !== undefined) return dtype;
  throw new InputError("DTYPE_NOT_IN_TORCH", `tensor "${tensor.key}": torch has no dtype for ${tensor.dtype}`, {
    tensor: tensor.key,
    found: tensor.dtype,
    help: "write safetensors instead, or convert the tensor with --dtype",
  });
}

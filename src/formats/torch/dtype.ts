import { bitsOf, DTYPES, type Dtype, torchName } from "../../base/dtype.ts";

export interface TorchDtype {
  readonly dtype: Dtype;
  /** `torch.<name>` */
  readonly name: string;
  /** `torch.<storage>`; null for the younger types, whose tensors lie in a `torch.storage.UntypedStorage`. */
  readonly storage: string | null;
}

/** Source: pytorch/pytorch@v2.13.0:torch/storage.py, _dtype_to_storage_type_map; torch/_utils.py, _rebuild_tensor_v3. */
const STORAGES: Partial<Record<Dtype, string>> = {
  F64: "DoubleStorage",
  F32: "FloatStorage",
  F16: "HalfStorage",
  BF16: "BFloat16Storage",
  I64: "LongStorage",
  I32: "IntStorage",
  I16: "ShortStorage",
  I8: "CharStorage",
  U8: "ByteStorage",
  BOOL: "BoolStorage",
  C64: "ComplexFloatStorage",
};

const TORCH_DTYPES = DTYPES.flatMap((dtype): TorchDtype[] => {
  const name = torchName(dtype);
  return name === undefined ? [] : [{ dtype, name, storage: STORAGES[dtype] ?? null }];
});

const byDtype = new Map(TORCH_DTYPES.map((row) => [row.dtype, row]));

/** How torch spells a dtype; undefined for those it has none for. */
export const torchDtype = (dtype: Dtype): TorchDtype | undefined => byDtype.get(dtype);

/** By the pickle's name, e.g. "torch bfloat16". */
export const DTYPE_OF_GLOBAL: ReadonlyMap<string, Dtype> = new Map(
  TORCH_DTYPES.map((row) => [`torch ${row.name}`, row.dtype]),
);

/** By the pickle's name, e.g. "torch BFloat16Storage". */
export const DTYPE_OF_STORAGE: ReadonlyMap<string, Dtype> = new Map(
  TORCH_DTYPES.flatMap((row) => (row.storage === null ? [] : [[`torch ${row.storage}`, row.dtype] as const])),
);

/** Bytes of the unit in which a storage of this class is counted; 1 for UntypedStorage. */
export function storageWidth(storage: string): number {
  const dtype = DTYPE_OF_STORAGE.get(storage);
  return dtype === undefined ? 1 : bitsOf(dtype) / 8;
}

/** `torch.<name>` of storage classes whose elements no format here has. */
const OTHER_STORAGES: Readonly<Record<string, string>> = {
  ComplexDoubleStorage: "complex128",
  QInt8Storage: "qint8",
  QUInt8Storage: "quint8",
  QInt32Storage: "qint32",
  QUInt4x2Storage: "quint4x2",
  QUInt2x4Storage: "quint2x4",
};

/** The dtype that a global of torch stands for where it is none of ours: "torch.complex32"; undefined for no dtype. */
export function unsupportedDtype(global: string): string | undefined {
  const name = /^torch (\w+)$/.exec(global)?.[1];
  if (name === undefined) return undefined;
  const of = Object.hasOwn(OTHER_STORAGES, name) ? OTHER_STORAGES[name] : name;
  return of !== undefined && /^(?:q?u?int|float|complex|bits)\d/.test(of) ? `torch.${of}` : undefined;
}

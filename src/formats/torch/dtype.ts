import { bitsOf, type Dtype } from "../../base/dtype.ts";

export interface TorchDtype {
  readonly dtype: Dtype;
  /** `torch.<name>` */
  readonly name: string;
  /** `torch.<storage>`; null for the younger types, whose tensors lie in a `torch.storage.UntypedStorage`. */
  readonly storage: string | null;
}

/** Source: pytorch/pytorch@v2.13.0:torch/storage.py, _dtype_to_storage_type_map; torch/_utils.py, _rebuild_tensor_v3. */
const TORCH_DTYPES: readonly TorchDtype[] = [
  { dtype: "F64", name: "float64", storage: "DoubleStorage" },
  { dtype: "F32", name: "float32", storage: "FloatStorage" },
  { dtype: "F16", name: "float16", storage: "HalfStorage" },
  { dtype: "BF16", name: "bfloat16", storage: "BFloat16Storage" },
  { dtype: "I64", name: "int64", storage: "LongStorage" },
  { dtype: "I32", name: "int32", storage: "IntStorage" },
  { dtype: "I16", name: "int16", storage: "ShortStorage" },
  { dtype: "I8", name: "int8", storage: "CharStorage" },
  { dtype: "U8", name: "uint8", storage: "ByteStorage" },
  { dtype: "BOOL", name: "bool", storage: "BoolStorage" },
  { dtype: "C64", name: "complex64", storage: "ComplexFloatStorage" },
  { dtype: "U16", name: "uint16", storage: null },
  { dtype: "U32", name: "uint32", storage: null },
  { dtype: "U64", name: "uint64", storage: null },
  { dtype: "F8_E4M3", name: "float8_e4m3fn", storage: null },
  { dtype: "F8_E5M2", name: "float8_e5m2", storage: null },
  { dtype: "F8_E8M0", name: "float8_e8m0fnu", storage: null },
  { dtype: "F8_E4M3FNUZ", name: "float8_e4m3fnuz", storage: null },
  { dtype: "F8_E5M2FNUZ", name: "float8_e5m2fnuz", storage: null },
];

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

// Element types, by the names of the safetensors format, which every container's own names are mapped to.

/** Bits of one element, in the order of safetensors' own enum. Sub-byte types are carried through untouched. */
const BITS = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
} as const;

export type Dtype = keyof typeof BITS;

export const isDtype = (name: string): name is Dtype => Object.hasOwn(BITS, name);

/** In ascending alignment: huggingface/safetensors@v0.8.0:safetensors/src/tensor.rs (`Dtype`). */
export const DTYPES: readonly Dtype[] = Object.keys(BITS).filter(isDtype);

export const bitsOf = (dtype: Dtype): number => BITS[dtype];

/** Number of elements of a shape; 1 for a scalar. */
export const elementCount = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1);

/** Bytes of a tensor; no integer where elements of less than a byte do not fill the last one. */
export const byteLengthOf = (dtype: Dtype, shape: readonly number[]): number => (elementCount(shape) * BITS[dtype]) / 8;

/** Bytes of one element; undefined for the sub-byte types. */
export const bytesPerElement = (dtype: Dtype): number | undefined =>
  BITS[dtype] % 8 === 0 ? BITS[dtype] / 8 : undefined;

/**
 * `torch.<name>`, which is also the spelling of Hugging Face configs. torch has no one-element type for the dtypes left
 * out.
 */
const TORCH_NAMES: Partial<Record<Dtype, string>> = {
  F64: "float64",
  F32: "float32",
  F16: "float16",
  BF16: "bfloat16",
  I64: "int64",
  I32: "int32",
  I16: "int16",
  I8: "int8",
  U64: "uint64",
  U32: "uint32",
  U16: "uint16",
  U8: "uint8",
  BOOL: "bool",
  C64: "complex64",
  F8_E4M3: "float8_e4m3fn",
  F8_E5M2: "float8_e5m2",
  F8_E8M0: "float8_e8m0fnu",
  F8_E4M3FNUZ: "float8_e4m3fnuz",
  F8_E5M2FNUZ: "float8_e5m2fnuz",
};

export const torchName = (dtype: Dtype): string | undefined => TORCH_NAMES[dtype];

// The ONNX model of one matrix product, written by hand: a tenth of a kilobyte of protocol buffers.
// Field numbers: onnx/onnx@v1.19.0:onnx/onnx.proto; the op: docs/Operators.md#Gemm.

/** IR version and operator set of ONNX 1.9, which every runtime since 2021 reads. */
const IR_VERSION = 8;
const OPERATOR_SET = 13;
const FLOAT = 1;
const ATTRIBUTE_INT = 2;

type Field = readonly number[];

/** 7 bits a byte, lowest first. */
function varint(n: number): Field {
  return n < 128 ? [n] : [(n & 127) | 128, ...varint(n >>> 7)];
}

const number = (field: number, n: number): Field => [...varint(field << 3), ...varint(n)];
const message = (field: number, ...parts: Field[]): Field => {
  const bytes = parts.flat();
  return [...varint((field << 3) | 2), ...varint(bytes.length), ...bytes];
};
const text = (field: number, s: string): Field => message(field, [...new TextEncoder().encode(s)]);

/** A matrix of f32 whose sizes have names. */
const matrix = (field: number, name: string, sizes: readonly string[]): Field => {
  const shape = sizes.map((size) => message(1, text(2, size)));
  return message(field, text(1, name), message(2, message(1, number(1, FLOAT), message(2, ...shape))));
};

/** y [t, o] = x [t, i] · w [o, i]ᵀ in f32, of any sizes. */
export function gemmModel(): Uint8Array {
  const transposed = message(5, text(1, "transB"), number(3, 1), number(20, ATTRIBUTE_INT));
  const node = message(1, text(1, "x"), text(1, "w"), text(2, "y"), text(4, "Gemm"), transposed);
  const inputs = [matrix(11, "x", ["t", "i"]), matrix(11, "w", ["o", "i"])];
  const graph = message(7, node, text(2, "gemm"), ...inputs, matrix(12, "y", ["t", "o"]));
  return Uint8Array.from([...number(1, IR_VERSION), ...graph, ...message(8, text(1, ""), number(2, OPERATOR_SET))]);
}

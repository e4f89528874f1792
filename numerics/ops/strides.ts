// Tensors seen through strides: axes in another order, or repeated.

/** Row-major strides, in elements. */
export const stridesOf = (shape: readonly number[]): number[] =>
  shape.map((_, i) => shape.slice(i + 1).reduce((product, n) => product * n, 1));

/** Where the row-th row along the last axis begins. */
export function offsetOfRow(row: number, shape: readonly number[], strides: readonly number[]): number {
  let offset = 0;
  let rest = row;
  for (let axis = shape.length - 2; axis >= 0; axis--) {
    offset += (rest % shape[axis]!) * strides[axis]!;
    rest = Math.floor(rest / shape[axis]!);
  }
  return offset;
}

/** Strides of b as it is repeated to `shape`. */
export function broadcastStrides(shape: readonly number[], b: readonly number[]): number[] {
  const lead = shape.length - b.length;
  const strides = stridesOf(b);
  return shape.map((_, i) => (i < lead || b[i - lead] === 1 ? 0 : strides[i - lead]!));
}

// A square matrix transposed, or not: it fits either way.
import type { TensorFault } from "../fault.ts";

export const transposed: TensorFault<true> = {
  code: "TRANSPOSED",
  of: "tensor",
  recognise({ shape, expected, found }) {
    const [n = 1, columns] = shape;
    if (shape.length !== 2 || columns !== n) return null;
    return found.every((x, i) => x === expected[(i % n) * n + Math.floor(i / n)]) || null;
  },
  words: () => "is transposed",
  mend: () => "transpose the tensor: square ones fit either way",
};

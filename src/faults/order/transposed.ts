// A matrix transposed, or not: square ones fit either way, others after a reshape, which is no transpose.
import type { TensorFault } from "../fault.ts";

interface Turned {
  readonly isSquare: boolean;
  readonly slices: boolean;
}

export const transposed: TensorFault<Turned> = {
  code: "TRANSPOSED",
  of: "tensor",
  moves: true,
  recognise(pair) {
    const [rows = 1, columns = 1] = pair.shape.slice(-2);
    // Of more axes, these are two of several.
    if (pair.shape.length < 2 || pair.shape.length > 3 || rows < 2 || columns < 2) return null;
    if (!pair.isTransposed(rows, columns) && !(rows !== columns && pair.isTransposed(columns, rows))) return null;
    return { isSquare: rows === columns, slices: pair.shape.length > 2 };
  },
  words: ({ isSquare, slices }) => {
    const part = slices ? ", slice by slice" : "";
    return isSquare ? `is transposed${part}` : `is reshaped on one side where it is transposed on the other${part}`;
  },
  mend: ({ isSquare }) =>
    isSquare
      ? "transpose the tensor on one side: square ones fit either way"
      : "transpose the tensor, and do not reshape it",
};

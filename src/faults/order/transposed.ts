// A square matrix transposed, or not: it fits either way.
import { bytesOf, keysWhere, withBytes } from "../edit.ts";
import type { TensorFault } from "../fault.ts";

export const transposed: TensorFault<true> = {
  code: "TRANSPOSED",
  of: "tensor",
  places: (sample) => keysWhere(sample, ({ shape }) => shape.length === 2 && shape[0] === shape[1] && shape[0]! > 1),
  make(sample, key) {
    const bytes = bytesOf(sample.source, key);
    const n = sample.source.tensors.get(key)!.shape[0]!;
    const size = bytes.length / n ** 2;
    const turned = new Uint8Array(bytes.length);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++)
        turned.set(bytes.subarray((i * n + j) * size, (i * n + j + 1) * size), (j * n + i) * size);
    }
    return withBytes(sample, key, turned);
  },
  recognise({ shape, expected, found }) {
    const [n = 1, columns] = shape;
    if (shape.length !== 2 || columns !== n) return null;
    return found.every((x, i) => x === expected[(i % n) * n + Math.floor(i / n)]) || null;
  },
  words: () => "is transposed",
  mend: () => "transpose the tensor: square ones fit either way",
};

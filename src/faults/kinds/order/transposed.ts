// Matrices that are transposed, or not: square ones fit either way.
import { turned } from "../axes.ts";
import { type Kind, tensorKind } from "../kind.ts";
import { keysLike } from "../names.ts";

const square = tensorKind({
  name: "square-transposed",
  code: "TRANSPOSED",
  about: "a square matrix transposed, or not: it fits either way",
  places: (sample) => keysLike(sample, /./, ({ shape: [m, n, ...more] }) => m === n && m! > 1 && more.length === 0),
  bytes: ({ source }, key) => turned(source, key, { axis: 0 }),
});

export const TRANSPOSED: readonly Kind[] = [square];

// Executes moves on whole tensors in memory, element by element: slow, plain, and none of the converter's code.
import type { Move } from "../../src/table/move.ts";

export interface Bytes {
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

const count = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

/** Throws if an element of the target is written twice or not at all. */
export function applyMove(move: Move, source: (key: string) => Bytes): Bytes {
  const width = elementWidth(move, source);
  const elements = count(move.shape);
  const data = new Uint8Array(elements * width);
  const written = new Uint8Array(elements);
  for (const piece of move.pieces) {
    const from = source(piece.source).data;
    const loops = count(piece.sizes);
    for (let i = 0; i < loops; i++) {
      let rest = i;
      let [at, to] = [piece.sourceOffset, piece.targetOffset];
      for (let axis = piece.sizes.length - 1; axis >= 0; axis--) {
        const index = rest % piece.sizes[axis]!;
        rest = (rest - index) / piece.sizes[axis]!;
        at += index * piece.sourceStrides[axis]!;
        to += index * piece.targetStrides[axis]!;
      }
      if (to >= elements || (at + 1) * width > from.length) throw new Error(`${move.key}: piece out of bounds`);
      if (written[to] === 1) throw new Error(`${move.key}: element ${to} written twice`);
      written[to] = 1;
      data.set(from.subarray(at * width, (at + 1) * width), to * width);
    }
  }
  if (move.fill === undefined && written.includes(0))
    throw new Error(`${move.key}: element ${written.indexOf(0)} not written`);
  return { shape: move.shape, data };
}

function elementWidth(move: Move, source: (key: string) => Bytes): number {
  const first = move.pieces[0];
  if (first === undefined) return 4;
  const { data, shape } = source(first.source);
  return count(shape) === 0 ? 1 : data.length / count(shape);
}

// Values that no conversion makes of others: a bit that flipped, memory that nobody filled, a run that diverged.
import { elementCount } from "../../../base/dtype.ts";
import { bitFlipped, bytesOf, recalculated } from "../../edit.ts";
import { type Kind, tensorKind } from "../kind.ts";
import { keysLike } from "../names.ts";

const flipped = tensorKind({
  name: "bit-flipped",
  code: "WEIGHTS_DIFFER",
  about: "one bit of a matrix flipped, in an exponent: a disk, a cable",
  places: (sample) => keysLike(sample, /./, ({ shape }) => shape.length > 1),
  bytes({ source }, key) {
    const bytes = bytesOf(source, key);
    // The highest byte of the first element: in its exponent, so that no rounding explains it.
    return bitFlipped(bytes, bytes.length / elementCount(source.tensors.get(key)!.shape) - 1);
  },
});

const nan = tensorKind({
  name: "one-nan",
  code: "NON_FINITE",
  about: "one NaN: a run that diverged, a cast that overflowed",
  places: (sample) => keysLike(sample, /./, ({ shape }) => shape.length > 0),
  bytes: ({ source }, key) => recalculated(source, key, (x, i) => (i === 0 ? Number.NaN : x)),
});

export const BROKEN: readonly Kind[] = [flipped, nan];

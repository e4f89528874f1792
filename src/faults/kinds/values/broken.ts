// Values that no conversion makes of others: a bit that flipped, memory that nobody filled, a run that diverged.
import { elementCount } from "../../../base/dtype.ts";
import { bitFlipped, bytesOf, recalculated } from "../../edit.ts";
import type { Sample } from "../../fault.ts";
import { type Kind, tensorKind } from "../kind.ts";
import { keysLike } from "../names.ts";
import { randomBy } from "../random.ts";

const matrices = (sample: Sample): string[] => keysLike(sample, /./, ({ shape }) => shape.length > 1);

const NON_FINITE = { code: "NON_FINITE", alsoCodes: ["NON_FINITE_WEIGHTS"] } as const;

export const BROKEN: readonly Kind[] = [
  tensorKind({
    name: "bit-flipped",
    code: "WEIGHTS_DIFFER",
    about: "one bit of a matrix flipped, in an exponent: a disk, a cable",
    places: matrices,
    bytes({ source }, key) {
      const bytes = bytesOf(source, key);
      // The highest byte of the first element: in its exponent, so that no rounding explains it.
      return bitFlipped(bytes, bytes.length / elementCount(source.tensors.get(key)!.shape) - 1);
    },
  }),
  tensorKind({
    name: "left-random",
    code: "WEIGHTS_DIFFER",
    about: "a matrix left as it was initialised: its key was skipped (Megatron-Bridge#5262, sglang#16235)",
    places: matrices,
    bytes({ source }, key, seed) {
      const random = randomBy(seed, key);
      return recalculated(source, key, () => 0.04 * (random() + random() + random() - 1.5));
    },
  }),
  tensorKind({
    name: "one-nan",
    ...NON_FINITE,
    about: "one NaN: a run that diverged, a cast that overflowed",
    places: (sample) => keysLike(sample, /./, ({ shape }) => shape.length > 0),
    bytes: ({ source }, key) => recalculated(source, key, (x, i) => (i === 0 ? Number.NaN : x)),
  }),
  tensorKind({
    name: "one-infinity",
    ...NON_FINITE,
    about: "one infinite element: a value that f16 cannot hold",
    places: matrices,
    bytes: ({ source }, key) => recalculated(source, key, (x, i) => (i === 1 ? Number.POSITIVE_INFINITY : x)),
  }),
];

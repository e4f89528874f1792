// Axes exchanged or run from end to beginning, undone: square matrices, reshapes in place of transposes, patch embeddings.
import { elementCount } from "../../base/dtype.ts";
import type { TensorInfo } from "../../formats/checkpoint.ts";
import type { Sample } from "../fault.ts";
import { isIdentity, ordered, permutationsOf, permuted, place, tensorsWhere } from "./edits.ts";
import { configFor, expertPartOf, isVision, numberAmong } from "./parts.ts";
import type { Place, Undoing } from "./undoing.ts";

function transposes(sample: Sample, isMeant: (info: TensorInfo) => boolean): Place[] {
  return tensorsWhere(sample, (info) => info.shape.length === 2 && isMeant(info)).flatMap(({ key, shape }) => {
    const [m, n] = [shape[0]!, shape[1]!];
    if (m === n) return m > 1 ? [place("transposed", { [key]: permuted([n, n], [1, 0]) })] : [];
    return [
      place("reshaped where it should be transposed", { [key]: permuted([n, m], [1, 0]) }),
      place("transposed, then read in its own shape", { [key]: permuted([m, n], [1, 0]) }),
    ];
  });
}

const isSquare = ({ shape }: TensorInfo): boolean => shape[0] === shape[1];
const isOfExpert = ({ key }: TensorInfo): boolean => expertPartOf(key) !== null;

/** Colours, frames, rows and columns of a patch, of a convolution or of the linear map in its place. */
function patchDims(sample: Sample, { key, shape }: TensorInfo): readonly number[] | null {
  if (!/patch_embed/.test(key) || shape.length < 2) return null;
  if (shape.length > 2) return shape.slice(1);
  const config = configFor(sample, key);
  const patch = numberAmong(config, "patch_size") ?? 0;
  const frames = numberAmong(config, "temporal_patch_size", "patch_temporal") ?? 1;
  const colours = numberAmong(config, "in_channels", "num_channels") ?? 3;
  return colours * frames * patch * patch === shape[1] ? [colours, frames, patch, patch] : null;
}

function patches(sample: Sample): Place[] {
  return tensorsWhere(sample, () => true).flatMap((info) => {
    const dims = patchDims(sample, info);
    if (dims === null) return [];
    const shape = [info.shape[0]!, ...dims];
    const orders = permutationsOf(dims.map((_, i) => i)).filter((list) => !isIdentity(list));
    // The file's axes in this order have to be read so, to come back in the right one.
    return orders.map((list) =>
      place(`axes in the order ${list.join(", ")}`, {
        [info.key]: permuted(
          [shape[0]!, ...list.map((axis) => dims[axis]!)],
          [0, ...list.map((_, axis) => 1 + list.indexOf(axis))],
        ),
      }),
    );
  });
}

function flips(sample: Sample): Place[] {
  return tensorsWhere(
    sample,
    ({ key, shape }) => /conv1d/.test(key) || (/patch_embed/.test(key) && shape.length >= 2),
  ).flatMap((info) => {
    const dims = patchDims(sample, info) ?? info.shape.slice(1);
    const inner = (axis: number) => elementCount(dims.slice(axis + 1));
    return dims.flatMap((size, axis) => {
      if (size < 2) return [];
      if (info.shape.length > 2)
        return [place(`axis ${axis + 1} from its end`, { [info.key]: ordered(axis + 1, (i) => size - 1 - i) })];
      const flip = (i: number) => {
        const at = Math.floor(i / inner(axis)) % size;
        return i + (size - 1 - 2 * at) * inner(axis);
      };
      return [place(`axis ${axis + 1} from its end`, { [info.key]: ordered(1, flip) })];
    });
  });
}

/** Tables of positions by row and column, and the squares of patches that a merger joins. */
function grids(sample: Sample): Place[] {
  return tensorsWhere(sample, ({ key }) => isVision(key) || /vision/.test(key)).flatMap(({ key, shape }) => {
    if (/pos(?:ition)?_emb/.test(key)) {
      const [h, w, d] =
        shape.length === 3
          ? [shape[0]!, shape[1]!, shape[2]!]
          : [Math.sqrt(shape[0]!), Math.sqrt(shape[0]!), shape[1]!];
      if (!Number.isInteger(h) || h !== w || d === undefined) return [];
      const flat = (i: number) => (i % h) * h + Math.floor(i / h);
      const rows = [0, 1].map((axis) =>
        place(`${axis === 0 ? "rows" : "columns"} from their end`, { [key]: flipped([h, w, d], axis) }),
      );
      const turned = shape.length === 3 ? permuted([h, w, d], [1, 0, 2]) : ordered(0, flat);
      return [place("rows and columns exchanged", { [key]: turned }), ...rows];
    }
    if (!/(?:merger|projector|adapter|deepstack)/.test(key) || shape.length !== 2) return [];
    const merge = 4;
    if (shape[1]! % merge !== 0) return [];
    const d = shape[1]! / merge;
    const o = shape[0]!;
    return [
      place("channels before patches", { [key]: permuted([o, d, merge], [0, 2, 1]) }),
      place("patches before channels", { [key]: permuted([o, merge, d], [0, 2, 1]) }),
      place("rows and columns of a square exchanged", { [key]: permuted([o, 2, 2, d], [0, 2, 1, 3]) }),
      place("patches of a square reversed", {
        [key]: ordered(1, (i) => (merge - 1 - Math.floor(i / d)) * d + (i % d)),
      }),
    ];
  });
}

const flipped =
  ([h, w]: readonly number[], axis: number) =>
  (source: Parameters<ReturnType<typeof permuted>>[0], key: string): Uint8Array =>
    source.tensors.get(key)!.shape.length === 3
      ? ordered(axis, (i) => (axis === 0 ? h! : w!) - 1 - i)(source, key)
      : ordered(0, (i) =>
          axis === 0 ? (h! - 1 - Math.floor(i / w!)) * w! + (i % w!) : i - (i % w!) + w! - 1 - (i % w!),
        )(source, key);

const TRANSPOSED = {
  code: "TRANSPOSED",
  words: "is transposed, or reshaped where it should be",
  mend: "transpose the tensor: square ones fit either way, and a reshape fits always",
} as const;
const AXES = {
  code: "AXES_PERMUTED",
  words: "has its axes in another order",
  mend: "write the axes in the order of this family's files",
} as const;

export const axes: readonly Undoing[] = [
  {
    ...TRANSPOSED,
    places: (sample) => transposes(sample, (info) => isSquare(info) && !isOfExpert(info)),
  },
  {
    ...TRANSPOSED,
    places: (sample) => transposes(sample, (info) => isSquare(info) && isOfExpert(info)),
  },
  { ...AXES, places: patches },
  { ...AXES, places: grids },
  { ...AXES, code: "FLIPPED", words: "has an axis from its end to its beginning", places: flips },
  {
    ...TRANSPOSED,
    places: (sample) => transposes(sample, (info) => !isSquare(info) && !isOfExpert(info)),
  },
  {
    ...TRANSPOSED,
    places: (sample) => transposes(sample, (info) => !isSquare(info) && isOfExpert(info)),
  },
];

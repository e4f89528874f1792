// Matrices that are transposed, or not; columns, and shards of ranks, in each other's place.
import { along, exchanged, rolled, turned } from "../axes.ts";
import { type Kind, tensorKind } from "../kind.ts";
import { isVision, keysLike } from "../names.ts";
import { stacks } from "./experts.ts";

const MATRIX = /\.(?:down_proj|o_proj|gate_proj|up_proj|q_proj|k_proj|v_proj|fc1|fc2|linear_fc\d)\.weight$/;

export const TRANSPOSED: readonly Kind[] = [
  tensorKind({
    name: "square-transposed",
    code: "TRANSPOSED",
    about: "a square matrix transposed, or not: it fits either way",
    places: (sample) => keysLike(sample, /./, ({ shape: [m, n, ...more] }) => m === n && m! > 1 && more.length === 0),
    bytes: ({ source }, key) => turned(source, key, { axis: 0 }),
  }),
  tensorKind({
    name: "reshaped-for-transposed",
    code: "TRANSPOSED",
    about: "the transposed matrix written under the shape of the plain one: reshape in place of transpose (MaxText)",
    places: (sample) => keysLike(sample, MATRIX, ({ shape: [m = 0, n = 0] }) => m > 1 && n > 1 && m !== n),
    bytes: ({ source }, key) => turned(source, key, { axis: 0 }),
  }),
  tensorKind({
    name: "experts-reshaped-for-transposed",
    code: "TRANSPOSED",
    about: "each expert's matrix transposed, its shape as before",
    places: (sample) => stacks(sample),
    bytes: ({ source }, key) => turned(source, key, { axis: 1 }),
  }),
];

export const SHARDS: readonly Kind[] = [
  tensorKind({
    name: "columns-rolled",
    code: "COLUMNS_REORDERED",
    about: "columns off by one",
    places: (sample) => keysLike(sample, /\.(?:down_proj|fc2|linear_fc2)\.weight$/, ({ shape }) => shape[1]! > 2),
    bytes: ({ source }, key) => along(source, key, { axis: 1 }, rolled(source.tensors.get(key)!.shape[1]!)),
  }),
  tensorKind({
    name: "row-shards-exchanged",
    code: "HALVES_SWAPPED",
    alsoCodes: ["COLUMNS_REORDERED"],
    about: "the columns of two ranks of a row-parallel matrix in each other's place",
    places: (sample) =>
      keysLike(sample, /\.(?:down_proj|o_proj)\.weight$/, ({ shape: [, n], key }) => n! % 2 === 0 && !isVision(key)),
    bytes({ source }, key) {
      const [m, n] = source.tensors.get(key)!.shape;
      return along(source, key, { shape: [m!, 2, n! / 2], axis: 1 }, exchanged(0, 1));
    },
  }),
  tensorKind({
    name: "column-shards-exchanged",
    code: "HALVES_SWAPPED",
    alsoCodes: ["ROWS_REORDERED"],
    about: "the rows of two ranks of a column-parallel matrix in each other's place",
    places: (sample) =>
      keysLike(
        sample,
        /\.(?:up_proj|gate_proj)\.weight$/,
        ({ shape: [m, , ...more], key }) => m! % 2 === 0 && more.length === 0 && !isVision(key),
      ),
    bytes({ source }, key) {
      const [m, n] = source.tensors.get(key)!.shape;
      return along(source, key, { shape: [2, m! / 2, n!], axis: 0 }, exchanged(0, 1));
    },
  }),
];

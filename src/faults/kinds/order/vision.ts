// Vision towers: patches, positions and mergers in another order of axes. Text alone does not show it.
import type { Sample } from "../../fault.ts";
import { along, exchanged, regrouped, reversed, rolled, turned } from "../axes.ts";
import { type Kind, tensorKind } from "../kind.ts";
import { isVision, keysLike, numberOf, visionConfig } from "../names.ts";
import { exchangedTensors, fits } from "./swapped.ts";

interface Patch {
  readonly channels: number;
  readonly frames: number;
  readonly side: number;
}

function patchOf({ config }: Sample): Patch {
  const vision = visionConfig(config) ?? {};
  return {
    channels: numberOf(vision, ["in_channels", "num_channels"], 3),
    frames: numberOf(vision, ["temporal_patch_size", "patch_temporal"], 1),
    side: numberOf(vision, ["patch_size"]),
  };
}

const valuesOf = ({ channels, frames, side }: Patch): number => channels * frames * side * side;

/** Weights that embed a patch: its values are what follows the rows, as `c t h w`. */
const patches = (sample: Sample): string[] =>
  keysLike(
    sample,
    /patch_embed(?:ding|der)?\.(?:proj|patch_embedding)\.weight$/,
    ({ shape: [, ...values] }) => values.reduce((product, size) => product * size, 1) === valuesOf(patchOf(sample)),
  );

/** `[rows, c, t, h, w]` */
const patchShape = (sample: Sample, key: string): number[] => {
  const { channels, frames, side } = patchOf(sample);
  return [sample.source.tensors.get(key)!.shape[0]!, channels, frames, side, side];
};

/** A muse patch has its channels last; whether it does shows in nothing but the rank of its tensor. */
const isFlat = (sample: Sample, key: string): boolean => sample.source.tensors.get(key)!.shape.length === 2;

const AXES = { code: "AXES_PERMUTED", alsoCodes: ["COLUMNS_REORDERED", "TRANSPOSED"] } as const;

const PATCHES: readonly Kind[] = [
  tensorKind({
    name: "patch-channels-last",
    ...AXES,
    about: "values of a patch as (t, h, w, c) where the tower reads (c, t, h, w)",
    places: (sample) => patches(sample),
    bytes(sample, key) {
      const [rows, channels, ...rest] = patchShape(sample, key);
      return along(
        sample.source,
        key,
        { shape: [rows!, valuesOf(patchOf(sample))], axis: 1 },
        regrouped(
          channels!,
          rest.reduce((a, b) => a * b, 1),
        ),
      );
    },
  }),
  tensorKind({
    name: "patch-colours-reversed",
    code: "FLIPPED",
    alsoCodes: ["AXES_PERMUTED", "COLUMNS_REORDERED", "ROWS_REORDERED"],
    about: "blue, green, red where the tower reads red, green, blue",
    places: (sample) => patches(sample).filter((key) => !isFlat(sample, key)),
    bytes: (sample, key) =>
      along(sample.source, key, { shape: patchShape(sample, key), axis: 1 }, reversed(patchOf(sample).channels)),
  }),
  tensorKind({
    name: "patch-height-width-exchanged",
    ...AXES,
    about: "height and width of a patch exchanged: they have one size",
    places: (sample) => patches(sample).filter((key) => !isFlat(sample, key)),
    bytes: (sample, key) => turned(sample.source, key, { shape: patchShape(sample, key), axis: 3 }),
  }),
  tensorKind({
    name: "patch-frames-exchanged",
    code: "FLIPPED",
    alsoCodes: ["AXES_PERMUTED", "COLUMNS_REORDERED", "HALVES_SWAPPED", "PAIRS_SWAPPED"],
    about: "the two frames of a patch in each other's place; for a still image they are the same picture",
    places: (sample) => (patchOf(sample).frames === 2 ? patches(sample).filter((key) => !isFlat(sample, key)) : []),
    bytes: (sample, key) => along(sample.source, key, { shape: patchShape(sample, key), axis: 2 }, exchanged(0, 1)),
  }),
];

const TABLE = /(?:pos_embed|pos_emb|position_embedding(?:_table)?)\.weight$/;

/** Tables of positions on a square grid. */
function tables(sample: Sample): string[] {
  return keysLike(
    sample,
    TABLE,
    ({ key }) => isVision(key) && Number.isInteger(sideOf(sample, key)) && sideOf(sample, key) > 1,
  );
}

function sideOf({ source }: Sample, key: string): number {
  const { shape } = source.tensors.get(key)!;
  return shape.length === 3 && shape[0] === shape[1] ? shape[0]! : Math.sqrt(shape[0]!);
}

const gridOf = (sample: Sample, key: string): number[] => {
  const side = sideOf(sample, key);
  return [side, side, sample.source.tensors.get(key)!.shape.at(-1)!];
};

const MERGERS =
  /(?:merger|deepstack_merger_list\.\d+)\.linear_fc1\.weight$|mm_projector\.proj\.0\.weight$|vision_adapter\.fc1\.weight$/;

const mergeSide = ({ config }: Sample): number => {
  const vision = visionConfig(config) ?? {};
  const kernel = Array.isArray(vision.merge_kernel_size) ? Number(vision.merge_kernel_size[0]) : 0;
  return numberOf(vision, ["spatial_merge_size", "merge_size"], kernel);
};

const mergers = (sample: Sample): string[] =>
  keysLike(
    sample,
    MERGERS,
    ({ shape: [, columns] }) => mergeSide(sample) > 1 && columns! % mergeSide(sample) ** 2 === 0,
  );

const GRIDS: readonly Kind[] = [
  tensorKind({
    name: "position-table-transposed",
    ...AXES,
    alsoCodes: ["ROWS_REORDERED", "TRANSPOSED"],
    about: "the table of positions by columns where the tower reads rows",
    places: tables,
    bytes: (sample, key) => turned(sample.source, key, { shape: gridOf(sample, key), axis: 0 }),
  }),
  tensorKind({
    name: "position-table-rolled",
    code: "ROWS_REORDERED",
    alsoCodes: ["AXES_PERMUTED"],
    about: "the table of positions off by one row",
    places: tables,
    bytes(sample, key) {
      const [h, w, d] = gridOf(sample, key);
      return along(sample.source, key, { shape: [h! * w!, d!], axis: 0 }, rolled(h! * w!));
    },
  }),
  tensorKind({
    name: "merger-blocks-transposed",
    ...AXES,
    about: "the patches that become one token by columns where the merger reads rows",
    places: mergers,
    bytes(sample, key) {
      const side = mergeSide(sample);
      const [rows, columns] = sample.source.tensors.get(key)!.shape;
      return turned(sample.source, key, { shape: [rows!, side, side, columns! / side ** 2], axis: 1 });
    },
  }),
  {
    name: "deepstack-exchanged",
    code: "TENSORS_SWAPPED",
    about: "the mergers of two depths in each other's place",
    keepsShapes: true,
    places: (sample) =>
      keysLike(sample, /deepstack_merger_list\.0\.linear_fc\d\.weight$/).filter((key) =>
        fits(sample, key, second(key)),
      ),
    make: (sample, key) => exchangedTensors(sample, key, second(key)),
  },
];

const second = (key: string): string => key.replace("merger_list.0.", "merger_list.1.");

export const VISION: readonly Kind[] = [...PATCHES, ...GRIDS];

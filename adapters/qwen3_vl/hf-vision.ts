// Qwen3-VL's vision tower as transformers runs it. Suffixes name axes as in numerics/graph.ts; P patches, M merged patches,
// U width, Z = m²·U channels of a merged patch.
//   huggingface/transformers@v5.23.0:src/transformers/models/qwen3_vl/modeling_qwen3_vl.py
//   huggingface/transformers@v5.23.0:src/transformers/vision_utils.py
import type { ImageInput, Node, Ops, RopeTable, Tap, Weights } from "../../numerics/graph.ts";
import { ropeTable, transformersFrequencies } from "../../numerics/rope.ts";
import type { Qwen3VlVision } from "./config.ts";

const TOWER = "model.visual";
/** Of every LayerNorm of the tower. */
const VISION_EPS = 1e-6;

type Grids = ImageInput["grids"];

/** Qwen3VLVisionModel: one row [D] for each square of patches, and those that DeepStack adds to the first layers. */
export function* visionModel<X extends Node>(
  op: Ops<X>,
  weight: Weights<X>,
  vision: Qwen3VlVision,
  { pixels, patches, patchDim, grids }: ImageInput,
): Generator<Tap<X>, { image_MD: X; deepstack: readonly X[] }, void> {
  const { dim: U, mergeSize: m, nHeads: N, deepstackBlocks } = vision;
  const w = (name: string) => weight(`${TOWER}.${name}`);
  const linear = (x: X, module: string) => op.linear(x, w(`${module}.weight`), w(`${module}.bias`));
  const norm = (x: X, module: string) => op.layerNorm(x, w(`${module}.weight`), w(`${module}.bias`), VISION_EPS);

  /** Conv3d whose stride is its kernel. */
  const kernel = op.reshape(w("patch_embed.proj.weight"), [U, patchDim]);
  const embedded_PU = op.linear(op.constant(pixels, [patches, patchDim]), kernel, w("patch_embed.proj.bias"));
  const places_P = placesOf(grids, m);
  let hidden_PU = op.add(embedded_PU, positionEmbeddings(op, w("pos_embed.weight"), vision, places_P));
  yield { name: "vision.embed", value: hidden_PU };

  const cosSin = axialTable(vision, places_P);
  const mask = { kind: "segments", lengths: grids.flatMap(([t, h, w]) => Array<number>(t).fill(h * w)) } as const;
  /** PatchMerger: DeepStack's normalise after the patches of a token are joined. */
  const merger = (x_PU: X, module: string, usePostshuffleNorm: boolean) => {
    const joined = [patches / m ** 2, m ** 2 * U];
    const x_MZ = usePostshuffleNorm
      ? norm(op.reshape(x_PU, joined), `${module}.norm`)
      : op.reshape(norm(x_PU, `${module}.norm`), joined);
    return linear(op.map("gelu", linear(x_MZ, `${module}.linear_fc1`)), `${module}.linear_fc2`);
  };

  const deepstack: X[] = [];
  for (let b = 0; b < vision.nBlocks; b++) {
    const module = `blocks.${b}`;
    const qkv = op.reshape(linear(norm(hidden_PU, `${module}.norm1`), `${module}.attn.qkv`), [patches, 3, N, U / N]);
    const part = (i: number) => op.reshape(op.slice(qkv, 1, i, i + 1), [patches, N, U / N]);
    const mixed_PNH = op.attention(op.rope(part(0), cosSin, "half"), op.rope(part(1), cosSin, "half"), part(2), {
      scale: (U / N) ** -0.5,
      mask,
    });
    hidden_PU = op.add(hidden_PU, linear(op.reshape(mixed_PNH, [patches, U]), `${module}.attn.proj`));
    const fc1 = op.map("geluTanh", linear(norm(hidden_PU, `${module}.norm2`), `${module}.mlp.linear_fc1`));
    hidden_PU = op.add(hidden_PU, linear(fc1, `${module}.mlp.linear_fc2`));
    yield { name: `vision.${b}`, value: hidden_PU, keep: deepstack };

    if (!deepstackBlocks.includes(b)) continue;
    const features_MD = merger(hidden_PU, `deepstack_merger_list.${deepstackBlocks.indexOf(b)}`, true);
    deepstack.push(features_MD);
    yield { name: `vision.${b}.deepstack`, value: features_MD, keep: [hidden_PU, ...deepstack] };
  }
  const image_MD = merger(hidden_PU, "merger", false);
  yield { name: "vision.merged", value: image_MD, keep: deepstack };
  return { image_MD, deepstack };
}

interface Place {
  readonly row: number;
  readonly column: number;
  /** Rows and columns of the image. */
  readonly rows: number;
  readonly columns: number;
}

/** Of each patch, squares of m × m one behind another, each row by row. */
const placesOf = (grids: Grids, m: number): Place[] =>
  grids.flatMap(([frames, rows, columns]) =>
    Array.from({ length: frames * rows * columns }, (_, p) => {
      const within = p % (rows * columns);
      const square = Math.floor(within / m ** 2);
      const across = columns / m;
      return {
        row: Math.floor(square / across) * m + (Math.floor(within / m) % m),
        column: (square % across) * m + (within % m),
        rows,
        columns,
      };
    }),
  );

/** get_vision_interpolation_indices_and_weights, bilinear, corners aligned: four rows of a square table. */
function positionEmbeddings<X extends Node>(
  op: Ops<X>,
  table: X,
  { nPositions }: Qwen3VlVision,
  places_P: readonly Place[],
): X {
  const side = Math.floor(Math.sqrt(nPositions));
  const corner = (dy: number, dx: number) => {
    const taps = places_P.map(({ row, column, rows, columns }) => {
      const [y, x] = [axisTap(row, rows, side, dy), axisTap(column, columns, side, dx)];
      return { index: y.tap * side + x.tap, weight: Math.fround(y.weight * x.weight) };
    });
    const gathered = op.gather(
      table,
      taps.map(({ index }) => index),
    );
    return op.mul(
      gathered,
      op.constant(
        taps.map((tap) => tap.weight),
        [taps.length, 1],
      ),
    );
  };
  return op.add(op.add(corner(0, 0), corner(0, 1)), op.add(corner(1, 0), corner(1, 1)));
}

/** _interpolation_axis_taps_weights, in f32 as there. */
function axisTap(index: number, size: number, side: number, offset: number): { tap: number; weight: number } {
  const source = Math.fround(Math.fround(index * (side - 1)) / Math.max(size - 1, 1));
  const floor = Math.floor(source);
  const distance = Math.abs(Math.fround(Math.fround(source - floor) - offset));
  return { tap: Math.min(floor + offset, side - 1), weight: Math.max(0, Math.fround(1 - distance)) };
}

/** Rows turn the first half of the pairs, columns the second. */
function axialTable({ dim, nHeads, ropeTheta }: Qwen3VlVision, places_P: readonly Place[]): RopeTable {
  const frequencies = transformersFrequencies({ kind: "default", theta: ropeTheta, dims: dim / nHeads / 2 });
  const angles = (axis: "row" | "column") =>
    ropeTable(
      frequencies,
      places_P.map((place) => place[axis]),
    );
  const [ofRows, ofColumns] = [angles("row"), angles("column")];
  const { pairs: half, tokens } = ofRows;
  const both = (rows: Float32Array, columns: Float32Array) =>
    Float32Array.from({ length: tokens * 2 * half }, (_, i) => {
      const [p, pair] = [Math.floor(i / (2 * half)), i % (2 * half)];
      return pair < half ? rows[p * half + pair]! : columns[p * half + pair - half]!;
    });
  return { tokens, pairs: 2 * half, cos: both(ofRows.cos, ofColumns.cos), sin: both(ofRows.sin, ofColumns.sin) };
}

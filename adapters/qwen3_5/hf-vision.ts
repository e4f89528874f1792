// Qwen3.5's vision tower as transformers runs it. Suffixes name axes as in numerics/graph.ts; P patches of all images, M of
// them merged, U width.
//   huggingface/transformers@v5.23.0:src/transformers/models/qwen3_5/modeling_qwen3_5.py
//   huggingface/transformers@v5.23.0:src/transformers/vision_utils.py
import type { ImageInput, Node, Ops, RopeTable, Tap, Weights } from "../../numerics/graph.ts";
import { ropeTable, transformersFrequencies } from "../../numerics/rope.ts";
import type { Qwen35Vision } from "./config.ts";

const TOWER = "model.visual";
/** Of every LayerNorm of the tower. */
const VISION_EPS = 1e-6;
const f32 = Math.fround;

/** Qwen3_5VisionModel: one row [D] for each square of patches. */
export function* visionModel<X extends Node>(
  op: Ops<X>,
  weight: Weights<X>,
  vision: Qwen35Vision,
  { pixels, patches, patchDim, grids }: ImageInput,
): Generator<Tap<X>, X, void> {
  const { dim: U, mergeSize: m, nHeads: N } = vision;
  const w = (name: string) => weight(`${TOWER}.${name}`);
  const linear = (x: X, module: string) => op.linear(x, w(`${module}.weight`), w(`${module}.bias`));
  const norm = (x: X, module: string) => op.layerNorm(x, w(`${module}.weight`), w(`${module}.bias`), VISION_EPS);

  // Conv3d whose stride is its kernel
  const kernel = op.reshape(w("patch_embed.proj.weight"), [U, patchDim]);
  const embedded_PU = op.linear(op.constant(pixels, [patches, patchDim]), kernel, w("patch_embed.proj.bias"));
  const places_P = placesOf(grids, m);
  let hidden_PU = op.add(embedded_PU, positionEmbeddings(op, w("pos_embed.weight"), vision, places_P));
  yield { name: "vision.embed", value: hidden_PU };

  const cosSin = axialTable(vision, places_P);
  /** get_vision_cu_seqlens: each frame by itself. */
  const mask = { kind: "segments", lengths: grids.flatMap(([t, h, w]) => Array<number>(t).fill(h * w)) } as const;
  for (let b = 0; b < vision.nBlocks; b++) {
    const module = `blocks.${b}`;
    const qkv = op.reshape(linear(norm(hidden_PU, `${module}.norm1`), `${module}.attn.qkv`), [patches, 3, N, U / N]);
    const [q, k, v] = [0, 1, 2].map((i) => op.reshape(op.slice(qkv, 1, i, i + 1), [patches, N, U / N]));
    const options = { scale: (U / N) ** -0.5, mask };
    const mixed_PNH = op.attention(op.rope(q!, cosSin, "half"), op.rope(k!, cosSin, "half"), v!, options);
    hidden_PU = op.add(hidden_PU, linear(op.reshape(mixed_PNH, [patches, U]), `${module}.attn.proj`));
    const fc1 = op.map("geluTanh", linear(norm(hidden_PU, `${module}.norm2`), `${module}.mlp.linear_fc1`));
    hidden_PU = op.add(hidden_PU, linear(fc1, `${module}.mlp.linear_fc2`));
    yield { name: `vision.${b}`, value: hidden_PU };
  }

  const joined_MZ = op.reshape(norm(hidden_PU, "merger.norm"), [patches / m ** 2, m ** 2 * U]);
  const merged_MD = linear(op.map("gelu", linear(joined_MZ, "merger.linear_fc1")), "merger.linear_fc2");
  yield { name: "vision.merged", value: merged_MD };
  return merged_MD;
}

interface Place {
  readonly row: number;
  readonly column: number;
  /** Rows and columns of the image. */
  readonly rows: number;
  readonly columns: number;
}

/** Of each patch, squares of m × m one behind another, each row by row. */
const placesOf = (grids: ImageInput["grids"], m: number): Place[] =>
  grids.flatMap(([frames, rows, columns]) =>
    Array.from({ length: frames * rows * columns }, (_, p) => {
      const [square, within] = [Math.floor((p % (rows * columns)) / m ** 2), p % m ** 2];
      const row = Math.floor(square / (columns / m)) * m + Math.floor(within / m);
      const column = (square % (columns / m)) * m + (within % m);
      return { row, column, rows, columns };
    }),
  );

/** get_vision_interpolation_indices_and_weights, bilinear, corners aligned: four rows of a square table. */
function positionEmbeddings<X extends Node>(
  op: Ops<X>,
  table: X,
  { nPositions }: Qwen35Vision,
  places_P: readonly Place[],
): X {
  const side = Math.floor(Math.sqrt(nPositions));
  const corner = (dy: number, dx: number) => {
    const y = places_P.map(({ row, rows }) => axisTap(row, rows, side, dy));
    const x = places_P.map(({ column, columns }) => axisTap(column, columns, side, dx));
    const rows_PU = op.gather(
      table,
      y.map(({ tap }, p) => tap * side + x[p]!.tap),
    );
    const weights = y.map((ofRow, p) => f32(ofRow.weight * x[p]!.weight));
    return op.mul(rows_PU, op.constant(weights, [weights.length, 1]));
  };
  return op.add(op.add(corner(0, 0), corner(0, 1)), op.add(corner(1, 0), corner(1, 1)));
}

/** _interpolation_axis_taps_weights, in f32 as there. */
function axisTap(index: number, size: number, side: number, offset: number): { tap: number; weight: number } {
  const source = f32(f32(index * (side - 1)) / Math.max(size - 1, 1));
  const floor = Math.floor(source);
  const distance = Math.abs(f32(f32(source - floor) - offset));
  return { tap: Math.min(floor + offset, side - 1), weight: Math.max(0, f32(1 - distance)) };
}

/** Rows turn the first half of the pairs, columns the second. */
function axialTable({ dim, nHeads, ropeTheta }: Qwen35Vision, places_P: readonly Place[]): RopeTable {
  const frequencies = transformersFrequencies({ kind: "default", theta: ropeTheta, dims: dim / nHeads / 2 });
  const half = frequencies.invFreq.length;
  const [ofRows, ofColumns] = (["row", "column"] as const).map((axis) =>
    ropeTable(
      frequencies,
      places_P.map((place) => place[axis]),
    ),
  );
  const freqHw = (part: "cos" | "sin") =>
    Float32Array.from({ length: places_P.length * 2 * half }, (_, i) => {
      const [p, pair] = [Math.floor(i / (2 * half)), i % (2 * half)];
      return pair < half ? ofRows![part][p * half + pair]! : ofColumns![part][p * half + pair - half]!;
    });
  return { tokens: places_P.length, pairs: 2 * half, cos: freqHw("cos"), sin: freqHw("sin") };
}

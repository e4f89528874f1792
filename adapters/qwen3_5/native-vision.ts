// Qwen3.5's vision tower as torchtitan runs it. Suffixes name axes as in numerics/graph.ts; P patches of all images, M of them
// merged, U width, S places of the position table.
//   pytorch/torchtitan@v0.3.0:torchtitan/models/qwen3_5/vision_encoder.py
//   pytorch/torchtitan@v0.3.0:torchtitan/models/common/vision_encoder.py
import type { ImageInput, Node, Ops, RopeTable, Tap, Weights } from "../../numerics/graph.ts";
import { ropeTable, torchtitanFrequencies } from "../../numerics/rope.ts";
import type { Qwen35Vision } from "./config.ts";

/** `layer_norm_eps` of every flavour. */
const LAYER_NORM_EPS = 1e-6;

/** What the PatchMerger has between its linear maps. */
export type MergerGelu = "geluTanh" | "gelu";

type Grid = ImageInput["grids"][number];

/** Qwen35VisionEncoder: [M, D]. Upstream pads smaller images. The padding reaches no output, so it is left out. */
export function* visionEncoder<X extends Node>(
  op: Ops<X>,
  weight: Weights<X>,
  vision: Qwen35Vision,
  { pixels, patches: P, patchDim, grids }: ImageInput,
  mergerGelu: MergerGelu,
): Generator<Tap<X>, X, void> {
  const { dim: U, nHeads, mergeSize } = vision;
  const headDim = U / nHeads;
  const w = (name: string) => weight(`vision_encoder.${name}`);
  const affine = (x: X, module: string) => op.linear(x, w(`${module}.weight`), w(`${module}.bias`));
  const layerNorm = (x: X, module: string) =>
    op.layerNorm(x, w(`${module}.weight`), w(`${module}.bias`), LAYER_NORM_EPS);

  // The collator's patches come block by block, as the pixels do.
  const learned = grids.map((grid) => learnedPositions(op, w("pos_embed"), grid, vision));
  let x_PU = op.add(affine(op.constant(pixels, [P, patchDim]), "patch_embed"), op.concat(learned, 0));
  yield { name: "vision.embed", value: x_PU };

  const table = rope2d(vision, grids);
  // get_vision_block_mask_mod: all patches of an item see each other, those of other frames too.
  const mask = { kind: "segments", lengths: grids.map(([t, h, w]) => t * h * w) } as const;
  for (let i = 0; i < vision.nBlocks; i++) {
    const heads = (x: X, name: string) => op.reshape(affine(x, `layers.${i}.attn.${name}`), [P, nHeads, headDim]);
    const normed_PU = layerNorm(x_PU, `layers.${i}.norm1`);
    const q_PNH = op.rope(heads(normed_PU, "wq"), table, "half");
    const k_PNH = op.rope(heads(normed_PU, "wk"), table, "half");
    const out_PNH = op.attention(q_PNH, k_PNH, heads(normed_PU, "wv"), { scale: 1 / Math.sqrt(headDim), mask });
    x_PU = op.add(x_PU, affine(op.reshape(out_PNH, [P, U]), `layers.${i}.attn.proj`));
    const hidden = op.map("geluTanh", affine(layerNorm(x_PU, `layers.${i}.norm2`), `layers.${i}.mlp.linear_fc1`));
    x_PU = op.add(x_PU, affine(hidden, `layers.${i}.mlp.linear_fc2`));
    yield { name: `vision.${i}`, value: x_PU };
  }

  const merged_MZ = op.reshape(layerNorm(x_PU, "merger.norm"), [P / mergeSize ** 2, mergeSize ** 2 * U]);
  const merged_MD = affine(op.map(mergerGelu, affine(merged_MZ, "merger.linear_fc1")), "merger.linear_fc2");
  yield { name: "vision.merged", value: merged_MD };
  return merged_MD;
}

/** Row and column of each patch of one item: blocks of m × m one behind another, frame by frame. */
function placesOf([frames, height, width]: Grid, m: number): (readonly [number, number])[] {
  const frame: (readonly [number, number])[] = [];
  for (let top = 0; top < height; top += m) {
    for (let left = 0; left < width; left += m) {
      for (let p = 0; p < m ** 2; p++) frame.push([top + Math.floor(p / m), left + (p % m)]);
    }
  }
  return Array.from({ length: frames }, () => frame).flat();
}

/** `_compute_learned_pos_embeds` of one item: F.interpolate of the table, bilinear, corners aligned; then in blocks. */
function learnedPositions<X extends Node>(
  op: Ops<X>,
  table_SU: X,
  grid: Grid,
  { dim, nPositions, mergeSize }: Qwen35Vision,
): X {
  const [side, height, width] = [Math.sqrt(nPositions), grid[1], grid[2]];
  /** [side, n] → [to, n]. */
  const along = (to: number, x: X) =>
    op.linear(op.constant(linearWeights(side, to), [to, side]), op.permute(x, [1, 0]));
  const rows = op.reshape(along(height, op.reshape(table_SU, [side, side * dim])), [height, side, dim]);
  const columns = along(width, op.reshape(op.permute(rows, [1, 0, 2]), [side, height * dim]));
  const order = placesOf(grid, mergeSize).map(([row, column]) => column * height + row);
  return op.gather(op.reshape(columns, [width * height, dim]), order);
}

/** Weights [to, from] of linear interpolation with corners aligned: step i of `to` is at i · (from − 1) / (to − 1). */
const linearWeights = (from: number, to: number): number[] =>
  Array.from({ length: to }, (_, i) => (i * (from - 1)) / Math.max(to - 1, 1)).flatMap((at) =>
    Array.from({ length: from }, (_, place) => Math.max(0, 1 - Math.abs(at - place))),
  );

/** `_compute_2d_rope_cache`: frequencies of a patch's row, then those of its column. */
function rope2d({ dim, nHeads, ropeTheta, mergeSize }: Qwen35Vision, grids: readonly Grid[]): RopeTable {
  const spec = { kind: "default", theta: ropeTheta, dims: dim / nHeads / 2 } as const;
  const places = grids.flatMap((grid) => placesOf(grid, mergeSize));
  // The table has two rows per patch, for its row and its column. Read as one row of twice the pairs, they are the
  // patch's angles.
  const { cos, sin, pairs } = ropeTable(torchtitanFrequencies(spec, "CosSinRoPE"), places.flat());
  return { tokens: places.length, pairs: 2 * pairs, cos, sin };
}

// Qwen3-VL's vision tower as torchtitan ran it. Suffixes name axes as in numerics/graph.ts; P patches of all images, M of them
// merged, U width, S places of the position table.
//   pytorch/torchtitan@adf340d3f9fa:torchtitan/models/qwen3_vl/vision_encoder.py
import type { ImageInput, Node, Ops, RopeTable, Tap, Weights } from "../../numerics/graph.ts";
import { ropeTable, torchtitanFrequencies } from "../../numerics/rope.ts";
import type { Qwen3VlVision } from "./config.ts";

/** `_EPS` of `_vl_layer_norm`. */
const VISION_EPS = 1e-6;

/** What a PatchMerger has between its linear maps. */
export type MergerGelu = "geluTanh" | "gelu";

type Grids = ImageInput["grids"];

/** Qwen3VLVisionEncoder. Upstream pads smaller images. The padding reaches no output, so it is left out. */
export function* visionEncoder<X extends Node>(
  op: Ops<X>,
  weight: Weights<X>,
  vision: Qwen3VlVision,
  { pixels, patches, patchDim, grids }: ImageInput,
  mergerGelu: MergerGelu,
): Generator<Tap<X>, { merged_MD: X; deepstack: readonly X[] }, void> {
  const { dim, mergeSize, deepstackBlocks } = vision;
  const w = (name: string) => weight(`vision_encoder.${name}`);
  const affine = (x: X, module: string) => op.linear(x, w(`${module}.weight`), w(`${module}.bias`));
  const layerNorm = (x: X, module: string) => op.layerNorm(x, w(`${module}.weight`), w(`${module}.bias`), VISION_EPS);
  const merge = (x_PU: X) => op.reshape(x_PU, [patches / mergeSize ** 2, mergeSize ** 2 * dim]);
  const mlp = (x: X, module: string, gelu: MergerGelu) =>
    affine(op.map(gelu, affine(x, `${module}.linear_fc1`)), `${module}.linear_fc2`);

  // The collator's patches come in blocks of `spatial_merge_size`², as the pixels do.
  const learned_PU = op.concat(
    grids.map((grid) => learnedPositions(op, w("pos_embed"), grid, vision)),
    0,
  );
  let x_PU = op.add(affine(op.constant(pixels, [patches, patchDim]), "patch_embed.proj"), learned_PU);
  yield { name: "vision.embed", value: x_PU };

  const attention = visionAttention(op, affine, vision, grids);
  const deepstack: X[] = [];
  for (let i = 0; i < vision.nBlocks; i++) {
    x_PU = op.add(x_PU, attention(layerNorm(x_PU, `layers.${i}.norm1`), `layers.${i}.attn`));
    x_PU = op.add(x_PU, mlp(layerNorm(x_PU, `layers.${i}.norm2`), `layers.${i}.mlp`, "geluTanh"));
    yield { name: `vision.${i}`, value: x_PU, keep: deepstack };
    if (deepstackBlocks.includes(i)) {
      // `use_postshuffle_norm`
      const module = `deepstack_merger_list.${deepstackBlocks.indexOf(i)}`;
      deepstack.push(mlp(layerNorm(merge(x_PU), `${module}.norm`), module, mergerGelu));
      yield { name: `vision.${i}.deepstack`, value: deepstack.at(-1)!, keep: [x_PU, ...deepstack] };
    }
  }
  const merged_MD = mlp(merge(layerNorm(x_PU, "merger.norm")), "merger", mergerGelu);
  yield { name: "vision.merged", value: merged_MD, keep: deepstack };
  return { merged_MD, deepstack };
}

/** VisionAttention; its block mask has all patches of an item see each other, those of other frames too. */
function visionAttention<X extends Node>(
  op: Ops<X>,
  affine: (x: X, module: string) => X,
  vision: Qwen3VlVision,
  grids: Grids,
) {
  const [heads, headDim] = [vision.nHeads, vision.dim / vision.nHeads];
  const table = rope2d(vision, grids);
  const mask = { kind: "segments", lengths: grids.map(([t, h, w]) => t * h * w) } as const;
  return (x_PU: X, module: string): X => {
    const P = x_PU.shape[0]!;
    const qkv_3PNH = op.permute(op.reshape(affine(x_PU, `${module}.qkv`), [P, 3, heads, headDim]), [1, 0, 2, 3]);
    const unbind = (i: number) => op.reshape(op.slice(qkv_3PNH, 0, i, i + 1), [P, heads, headDim]);
    const [q, k] = [op.rope(unbind(0), table, "half"), op.rope(unbind(1), table, "half")];
    const out = op.attention(q, k, unbind(2), { scale: 1 / Math.sqrt(headDim), mask });
    return affine(op.reshape(out, [P, vision.dim]), `${module}.proj`);
  };
}

/** `_compute_learned_pos_embeds` of one item: F.interpolate of the table, bilinear, corners aligned; then in blocks. */
function learnedPositions<X extends Node>(
  op: Ops<X>,
  table_SU: X,
  [frames, height, width]: Grids[number],
  { dim, nPositions, mergeSize: m }: Qwen3VlVision,
): X {
  const side = Math.sqrt(nPositions);
  /** [side, n] → [to, n]. */
  const along = (to: number, x: X) =>
    op.linear(op.constant(linearWeights(side, to), [to, side]), op.permute(x, [1, 0]));
  const rows = along(height, op.reshape(table_SU, [side, side * dim]));
  const turned = op.permute(op.reshape(rows, [height, side, dim]), [1, 0, 2]);
  const columns = along(width, op.reshape(turned, [side, height * dim]));
  const blocks = op.permute(op.reshape(columns, [width / m, m, height / m, m, dim]), [2, 0, 3, 1, 4]);
  const pos_hw = op.reshape(blocks, [height * width, dim]);
  return op.concat(Array<X>(frames).fill(pos_hw), 0);
}

/** Weights [to, from] of linear interpolation with corners aligned: step i of `to` is at i · (from − 1) / (to − 1). */
const linearWeights = (from: number, to: number): number[] =>
  Array.from({ length: to * from }, (_, n) => {
    const [i, place] = [Math.floor(n / from), n % from];
    return Math.max(0, 1 - Math.abs((i * (from - 1)) / Math.max(to - 1, 1) - place));
  });

/** `_compute_2d_rope_cache`: frequencies of a patch's row, then those of its column, in blocks. */
function rope2d({ dim, nHeads, ropeTheta, mergeSize: m }: Qwen3VlVision, grids: Grids): RopeTable {
  const spec = { kind: "default", theta: ropeTheta, dims: dim / nHeads / 2 } as const;
  const longest = Math.max(...grids.flatMap(([, height, width]) => [height, width]));
  const table = ropeTable(torchtitanFrequencies(spec, "CosSinRoPE"), [...Array(longest).keys()]);
  const [cos, sin]: [number[], number[]] = [[], []];
  const push = (position: number) => {
    const [begin, end] = [position * table.pairs, (position + 1) * table.pairs];
    cos.push(...table.cos.subarray(begin, end));
    sin.push(...table.sin.subarray(begin, end));
  };
  for (const [frames, height, width] of grids) {
    for (let block = 0; block < (frames * height * width) / m ** 2; block++) {
      const [top, left] = [Math.floor(block / (width / m)) % (height / m), block % (width / m)];
      for (let row = 0; row < m; row++) {
        for (let column = 0; column < m; column++) {
          push(top * m + row);
          push(left * m + column);
        }
      }
    }
  }
  const pairs = 2 * table.pairs;
  return { tokens: cos.length / pairs, pairs, cos: Float32Array.from(cos), sin: Float32Array.from(sin) };
}

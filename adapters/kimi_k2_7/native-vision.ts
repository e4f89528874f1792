// MoonViT and its projector as torchtitan runs them. Suffixes: L patches, W width, M merged tokens, D width of the text.
//   pytorch/torchtitan@v0.3.0:torchtitan/models/kimi_k2_7/vision_encoder.py
//   pytorch/torchtitan@v0.3.0:torchtitan/models/common/{rope,vision_encoder}.py
import type { ImageInput, Node, Ops, RopeTable, Tap, Weights } from "../../numerics/graph.ts";
import { ropeTable, torchtitanFrequencies } from "../../numerics/rope.ts";
import type { KimiVision } from "./config.ts";

/** `_vl_layernorm`. */
const VISION_EPS = 1e-5;

/** KimiK25VisionEncoder of images, one frame each: tower, spatial merge, projector. → [M, D] */
export function* visionEncoder<X extends Node>(
  op: Ops<X>,
  weight: Weights<X>,
  vision: KimiVision,
  { pixels, patches, patchDim, grids }: ImageInput,
): Generator<Tap<X>, X, void> {
  const w = (name: string) => weight(`vision_encoder.${name}`);
  const affine = (x: X, module: string) => op.linear(x, w(`${module}.weight`), w(`${module}.bias`));
  const layerNorm = (x: X, module: string, eps: number) =>
    op.layerNorm(x, w(`${module}.weight`), w(`${module}.bias`), eps);

  const learned = grids.map(([, height, width]) => learnedPositions(op, w("pos_embed"), height, width));
  const embedded_LW = affine(op.constant(pixels, [patches, patchDim]), "patch_embed");
  let x_LW = op.add(embedded_LW, op.concat(learned, 0));
  yield { name: "vision.embed", value: x_LW };

  const block = visionBlock(op, affine, layerNorm, vision, grids);
  for (let i = 0; i < vision.nBlocks; i++) {
    x_LW = block(x_LW, `layers.${i}`);
    yield { name: `vision.${i}`, value: x_LW };
  }

  const { mergeRows: kh, mergeColumns: kw, dim } = vision;
  const final_LW = layerNorm(x_LW, "final_norm", VISION_EPS);
  let begin = 0;
  const merged = grids.map(([, height, width]) => {
    const image = op.slice(final_LW, 0, begin, begin + height * width);
    begin += height * width;
    const kernels = op.permute(op.reshape(image, [height / kh, kh, width / kw, kw * dim]), [0, 2, 1, 3]);
    return op.reshape(kernels, [height * width, dim]);
  });
  const normed = layerNorm(op.concat(merged, 0), "projector.pre_norm", vision.projectorEps);
  const flat = op.reshape(normed, [patches / (kh * kw), kh * kw * dim]);
  const vision_MD = affine(op.map("gelu", affine(flat, "projector.linear_1")), "projector.linear_2");
  yield { name: "vision.merged", value: vision_MD };
  return vision_MD;
}

/** VisionTransformerBlock: pre-norm, biases everywhere, tanh GELU. */
function visionBlock<X extends Node>(
  op: Ops<X>,
  affine: (x: X, module: string) => X,
  layerNorm: (x: X, module: string, eps: number) => X,
  vision: KimiVision,
  grids: ImageInput["grids"],
) {
  const { nHeads, dim } = vision;
  const headDim = dim / nHeads;
  const table = rope2d(vision, grids);
  const mask = { kind: "segments", lengths: grids.map(([, height, width]) => height * width) } as const;
  return (x_LW: X, layer: string): X => {
    const L = x_LW.shape[0]!;
    const a_LW = layerNorm(x_LW, `${layer}.norm1`, VISION_EPS);
    const split = (module: string) => op.reshape(affine(a_LW, `${layer}.attn.${module}`), [L, nHeads, headDim]);
    const q = op.rope(split("wq"), table, "adjacent");
    const k = op.rope(split("wk"), table, "adjacent");
    const out = op.attention(q, k, split("wv"), { scale: 1 / Math.sqrt(headDim), mask });
    const h_LW = op.add(x_LW, affine(op.reshape(out, [L, dim]), `${layer}.attn.proj`));
    const hidden = op.map("geluTanh", affine(layerNorm(h_LW, `${layer}.norm2`, VISION_EPS), `${layer}.mlp.linear_fc1`));
    return op.add(h_LW, affine(hidden, `${layer}.mlp.linear_fc2`));
  };
}

/** `_compute_2d_rope_cache`: angles of column and row in turn, from one table of positions. */
function rope2d({ dim, nHeads, ropeTheta }: KimiVision, grids: ImageInput["grids"]): RopeTable {
  const spec = { kind: "default", theta: ropeTheta, dims: dim / nHeads / 2 } as const;
  const longest = Math.max(...grids.flatMap(([, height, width]) => [height, width]));
  const table = ropeTable(torchtitanFrequencies(spec, "ComplexRoPE"), [...Array(longest).keys()]);
  const cos: number[] = [];
  const sin: number[] = [];
  for (const [, height, width] of grids) {
    for (let p = 0; p < height * width; p++) {
      const [x, y] = [p % width, Math.floor(p / width)];
      for (let k = 0; k < table.pairs; k++) {
        for (const position of [x, y]) {
          cos.push(table.cos[position * table.pairs + k]!);
          sin.push(table.sin[position * table.pairs + k]!);
        }
      }
    }
  }
  const pairs = 2 * table.pairs;
  return { tokens: cos.length / pairs, pairs, cos: Float32Array.from(cos), sin: Float32Array.from(sin) };
}

/** `_compute_learned_pos_embeds`: F.interpolate of the table, bicubic, to one image, rows first and columns then. */
function learnedPositions<X extends Node>(op: Ops<X>, table: X, height: number, width: number): X {
  const [rows, columns, dim] = [table.shape[0]!, table.shape[1]!, table.shape[2]!];
  if (rows === height && columns === width) return op.reshape(table, [rows * columns, dim]);
  const along = (weights: readonly number[], to: number, from: number, x: X) =>
    op.linear(op.constant(weights, [to, from]), op.permute(op.reshape(x, [from, x.shape[1]!]), [1, 0]));
  const byRow = along(cubicWeights(rows, height), height, rows, op.reshape(table, [rows, columns * dim]));
  const turned = op.permute(op.reshape(byRow, [height, columns, dim]), [1, 0, 2]);
  const byColumn = along(cubicWeights(columns, width), width, columns, op.reshape(turned, [columns, height * dim]));
  return op.reshape(op.permute(op.reshape(byColumn, [width, height, dim]), [1, 0, 2]), [height * width, dim]);
}

/**
 * Weights [to, from] of torch's bicubic interpolation, corners not aligned, a = -¾; places outside are the nearest inside.
 * pytorch/pytorch@v2.13.0:aten/src/ATen/native/UpSample.h, get_cubic_upsample_coefficients
 */
function cubicWeights(from: number, to: number): number[] {
  const A = -0.75;
  const near = (x: number) => ((A + 2) * x - (A + 3)) * x * x + 1;
  const far = (x: number) => ((A * x - 5 * A) * x + 8 * A) * x - 4 * A;
  const weights = Array<number>(to * from).fill(0);
  for (let i = 0; i < to; i++) {
    const real = (from / to) * (i + 0.5) - 0.5;
    const base = Math.floor(real);
    const t = real - base;
    for (const [n, coefficient] of [far(t + 1), near(t), near(1 - t), far(2 - t)].entries()) {
      weights[i * from + Math.min(Math.max(base - 1 + n, 0), from - 1)]! += coefficient;
    }
  }
  return weights;
}

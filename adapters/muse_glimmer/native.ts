// Muse Glimmer as torchtitan runs it. Suffixes name axes as in numerics/graph.ts; of the tower P patches of all images,
// M of them merged, L latent width, S places of the position table.
//   pytorch/torchtitan@v0.3.0:torchtitan/models/muse_glimmer/{model,vision_encoder,__init__}.py
//   pytorch/torchtitan@v0.3.0:torchtitan/models/common/{attention,feed_forward,rope,vision_encoder}.py
import type { Forward, ImageInput, KnownDifference, Node, Ops, RopeTable, Tap, Weights } from "../../numerics/graph.ts";
import { ropeTable, torchtitanFrequencies } from "../../numerics/rope.ts";
import type { MuseGlimmerConfig, MuseGlimmerVision, TablePlace } from "./config.ts";

const ENCODER =
  "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/models/muse_glimmer/vision_encoder.py#L88-L111";

/** `_NORM_EPS` of the encoder's blocks. */
const BLOCK_EPS = 1e-5;

export const nativeForward = (config: MuseGlimmerConfig, reads: TablePlace): Forward => forwardWith(config, reads);

interface TableReader {
  readonly version: string;
  readonly reads: TablePlace;
}

/** Where this forward pass is known to differ from transformers'. */
export function nativeDifferences(
  config: MuseGlimmerConfig,
  { torchtitan, transformers }: Readonly<Record<"torchtitan" | "transformers", TableReader>>,
): readonly KnownDifference[] {
  if (config.vision === null || torchtitan.reads === transformers.reads) return [];
  return [
    {
      code: "OBLONG_POSITION_TABLE",
      explanation: `for place (h, w) of an image torchtitan ${torchtitan.version} reads the tower's table of positions at ${torchtitan.reads}, transformers ${transformers.version} at ${transformers.reads}; square images are not concerned`,
      source: ENCODER,
      fix: "serve it by a version of transformers that reads the table as the trainer did: (w, h) by torchtitan 0.3.0 and transformers from 5.24, (h, w) by torchtitan from 2026-08-21 and transformers up to 5.23; --upstream says which versions are meant",
      undone: forwardWith(config, transformers.reads),
    },
  ];
}

function forwardWith(config: MuseGlimmerConfig, reads: TablePlace): Forward {
  const { nLayers, normEps, vision, tokens, outputMultiplier, logitCap } = config;
  const frequencies = torchtitanFrequencies(config.rope, "ComplexRoPE");

  return function* (op, weight, { ids_T, images }) {
    const positions_T = ids_T.map((_, t) => t);
    const block = transformerBlock(op, weight, config, ropeTable(frequencies, positions_T));
    let v_MD: typeof h_TD | null = null;
    if (vision !== null && images !== undefined) {
      const features = yield* encode(op, weight, vision, images, reads);
      v_MD = op.rmsNorm(op.linear(features, weight("vision_projection.weight")), null, normEps);
      yield { name: "vision.merged", value: v_MD };
    }

    const embedding_VD = weight("tok_embeddings.embedding.weight");
    let h_TD = op.rmsNorm(op.gather(embedding_VD, ids_T), null, normEps);
    if (v_MD !== null) {
      // `_inject_vision`: features overwrite the spans of image tokens one after another
      const T = ids_T.length;
      let seen = 0;
      const from_T = positions_T.map((t) => (ids_T[t] === tokens.image ? T + seen++ : t));
      h_TD = op.gather(op.concat([h_TD, v_MD], 0), from_T);
    }
    yield { name: "embed", value: h_TD };

    for (let l = 0; l < nLayers; l++) {
      h_TD = block.attention(h_TD, l);
      yield { name: `layers.${l}.attn`, value: h_TD };
      h_TD = block.feedForward(h_TD, l);
      yield { name: `layers.${l}.ffn`, value: h_TD };
    }
    const y_TD = op.rmsNorm(h_TD, weight("norm.weight"), normEps);
    yield { name: "norm", value: y_TD };

    // SoftCappedLinear: cap · tanh(multiplier · W y / cap). A tied head and the embedding are one parameter.
    const raw_TV = op.linear(y_TD, weight(config.tied ? "tok_embeddings.embedding.weight" : "lm_head.weight"));
    return op.affine(op.map("tanh", op.affine(raw_TV, outputMultiplier / logitCap)), logitCap);
  };
}

function transformerBlock<X extends Node>(op: Ops<X>, weight: Weights<X>, config: MuseGlimmerConfig, table: RopeTable) {
  const { nHeads: N, nKvHeads: K, headDim: H, normEps, postNormEps } = config;
  const project = (x_TI: X, module: string) => op.linear(x_TI, weight(`${module}.weight`));
  /** RMSGainCenterNorm with gain_center 1. */
  const gainNorm = (x_TD: X, module: string, eps: number) =>
    op.rmsNorm(x_TD, op.affine(weight(`${module}.weight`), 1, 1), eps);

  /** h = x + norm(Wo (sigmoid(gate) ⊙ attention)). */
  function attention(x_TD: X, l: number): X {
    const T = x_TD.shape[0]!;
    const module = `layers.${l}.attention`;
    const a_TD = gainNorm(x_TD, `layers.${l}.attention_norm`, normEps);
    const q = op.reshape(project(a_TD, `${module}.qkv_linear.wq`), [T, N, H]);
    const k = op.reshape(project(a_TD, `${module}.qkv_linear.wk`), [T, K, H]);
    const v_TKH = op.reshape(project(a_TD, `${module}.qkv_linear.wv`), [T, K, H]);
    const useRope = !config.unrotatedLayers.includes(l);
    const rotate = (x: X) => (useRope ? op.rope(x, table, "adjacent") : x);
    const q_TNH = rotate(op.affine(op.rmsNorm(q, null, normEps), config.queryScale));
    const k_TKH = rotate(op.rmsNorm(k, null, normEps));
    const mask = config.slidingLayers.includes(l)
      ? ({ kind: "window", size: config.window } as const)
      : ({ kind: "causal" } as const);
    const out_TI = op.reshape(op.attention(q_TNH, k_TKH, v_TKH, { scale: 1 / Math.sqrt(H), mask }), [T, N * H]);
    const gated_TI = op.mul(out_TI, op.map("sigmoid", project(a_TD, `${module}.o_gate`)));
    return op.add(x_TD, gainNorm(project(gated_TI, `${module}.wo`), `layers.${l}.post_attention_norm`, postNormEps));
  }

  /** out = h + norm(W₂ (silu(W₁ h) ⊙ W₃ h)). */
  function feedForward(h_TD: X, l: number): X {
    const module = `layers.${l}.feed_forward`;
    const m_TD = gainNorm(h_TD, `layers.${l}.ffn_norm`, normEps);
    const hidden_TF = op.mul(op.map("silu", project(m_TD, `${module}.w1`)), project(m_TD, `${module}.w3`));
    return op.add(h_TD, gainNorm(project(hidden_TF, `${module}.w2`), `layers.${l}.post_ffn_norm`, postNormEps));
  }

  return { attention, feedForward };
}

/** MuseGlimmerVisionEncoder and MuseGlimmerVisionAdapter, of images: one frame each. */
function* encode<X extends Node>(
  op: Ops<X>,
  weight: Weights<X>,
  vision: MuseGlimmerVision,
  images: ImageInput,
  reads: TablePlace,
): Generator<Tap<X>, X, void> {
  const layerNorm = (x_PL: X, module: string, eps: number) =>
    op.layerNorm(x_PL, weight(`vision_encoder.${module}.weight`), weight(`vision_encoder.${module}.bias`), eps);
  const shapes = images.grids.map(([, height, width]) => ({ height, width }));
  const imageLengths = shapes.map(({ height, width }) => height * width);
  const { perm_P, windowLengths } = sparsePermutation(shapes, vision);

  // The collator's patch vectors are (c pt ph pw); `reorder_patch_vector` makes them (pt c ph pw), which the pixels are.
  const patches = op.constant(images.pixels, [images.patches, images.patchDim]);
  const embedded_PL = op.linear(patches, weight("vision_encoder.conv1_linear.weight"));
  const places = shapes.flatMap((shape) => samplingWeights(shape, vision, reads));
  const sampler_PS = op.constant(places, [images.patches, vision.positionRows * vision.positionColumns]);
  const table_LS = op.permute(weight("vision_encoder.positional_embedding_vlm"), [1, 0]);
  const pre_PL = layerNorm(op.add(embedded_PL, op.linear(sampler_PS, table_LS)), "ln_pre", vision.normEps);
  let x_PL = op.gather(pre_PL, perm_P);
  yield { name: "vision.embed", value: x_PL };

  const block = visionBlock(op, weight, vision, rope2d(shapes, vision, perm_P), layerNorm);
  for (let i = 0; i < vision.nBlocks; i++) {
    x_PL = block(x_PL, i, vision.windowBlocks.includes(i) ? windowLengths : imageLengths);
    yield { name: `vision.${i}`, value: x_PL };
  }

  const inverse_P = perm_P.map((_, i) => i).sort((a, b) => perm_P[a]! - perm_P[b]!);
  const post_PL = layerNorm(op.gather(x_PL, inverse_P), "ln_post", vision.normEps);
  const offsets = imageLengths.map((_, i) => imageLengths.slice(0, i).reduce((sum, n) => sum + n, 0));
  const shuffled = shapes.map((shape, i) =>
    pixelShuffleDownsample(op, op.slice(post_PL, 0, offsets[i]!, offsets[i]! + imageLengths[i]!), shape, vision),
  );
  const hidden = op.map("gelu", op.linear(op.concat(shuffled, 0), weight("vision_adapter.c_fc.weight")));
  return op.map("gelu", op.linear(hidden, weight("vision_adapter.c_proj.weight")));
}

interface Shape {
  readonly height: number;
  readonly width: number;
}

/** VisionTransformerBlock: pre-norm, biases everywhere, exact GELU. */
function visionBlock<X extends Node>(
  op: Ops<X>,
  weight: Weights<X>,
  { nHeads, dim }: MuseGlimmerVision,
  table: RopeTable,
  layerNorm: (x_PL: X, module: string, eps: number) => X,
) {
  const headDim = dim / nHeads;
  return (x_PL: X, i: number, lengths: readonly number[]): X => {
    const P = x_PL.shape[0]!;
    const affine = (x: X, module: string) => {
      const name = `vision_encoder.layers.${i}.${module}`;
      return op.linear(x, weight(`${name}.weight`), weight(`${name}.bias`));
    };
    const a_PL = layerNorm(x_PL, `layers.${i}.norm1`, BLOCK_EPS);
    const split = (module: string) => op.reshape(affine(a_PL, module), [P, nHeads, headDim]);
    const out_PNH = op.attention(
      op.rope(split("attn.wq"), table, "adjacent"),
      op.rope(split("attn.wk"), table, "adjacent"),
      split("attn.wv"),
      { scale: 1 / Math.sqrt(headDim), mask: { kind: "segments", lengths } },
    );
    const h_PL = op.add(x_PL, affine(op.reshape(out_PNH, [P, dim]), "attn.proj"));
    const m_PL = layerNorm(h_PL, `layers.${i}.norm2`, BLOCK_EPS);
    return op.add(h_PL, affine(op.map("gelu", affine(m_PL, "mlp.linear_fc1")), "mlp.linear_fc2"));
  };
}

/**
 * `_vision_pos_embed`: grid_sample, bilinear, corners not aligned, zeros around. Weights [P, S] row-major of one image.
 * Its meshgrid of "xy" indexing, in 0.3.0, runs over columns first and takes rows for x, hence (w, h).
 */
function samplingWeights(shape: Shape, { positionRows, positionColumns }: MuseGlimmerVision, reads: TablePlace) {
  const [rows, columns] = reads === "(h, w)" ? [shape.height, shape.width] : [shape.width, shape.height];
  const weights: number[] = [];
  for (let p = 0; p < rows * columns; p++) {
    const y = axisWeights(Math.floor(p / columns), rows, positionRows);
    const x = axisWeights(p % columns, columns, positionColumns);
    for (const wy of y) for (const wx of x) weights.push(wy * wx);
  }
  return weights;
}

/** Of each place along an axis of the table, for step `i` of `steps`: its centre is at (i + ½) · places / steps − ½. */
function axisWeights(i: number, steps: number, places: number): number[] {
  const centre = ((i + 0.5) * places) / steps - 0.5;
  return Array.from({ length: places }, (_, place) => Math.max(0, 1 - Math.abs(centre - place)));
}

/** `_make_2d_rope`: angles [w, h] of positions that start at 1, in the windows' order. */
function rope2d(shapes: readonly Shape[], { dim, nHeads, ropeTheta }: MuseGlimmerVision, perm_P: readonly number[]) {
  const spec = { kind: "default", theta: ropeTheta, dims: dim / nHeads / 2 } as const;
  const frequencies = torchtitanFrequencies(spec, "ComplexRoPE");
  const x_P: number[] = [];
  const y_P: number[] = [];
  for (const { height, width } of shapes) {
    for (let y = 1; y <= height; y++) {
      for (let x = 1; x <= width; x++) {
        x_P.push(x);
        y_P.push(y);
      }
    }
  }
  const of = (positions_P: readonly number[]) =>
    ropeTable(
      frequencies,
      perm_P.map((p) => positions_P[p]!),
    );
  const [w, h] = [of(x_P), of(y_P)];
  const cos = new Float32Array(2 * w.cos.length);
  const sin = new Float32Array(2 * w.sin.length);
  for (let p = 0; p < w.tokens; p++) {
    for (const [axis, table] of [w, h].entries()) {
      const [from, to] = [p * w.pairs, (2 * p + axis) * w.pairs];
      cos.set(table.cos.subarray(from, from + w.pairs), to);
      sin.set(table.sin.subarray(from, from + w.pairs), to);
    }
  }
  return { tokens: w.tokens, pairs: 2 * w.pairs, cos, sin };
}

/** `_get_sparse_perm_and_slens` of each image: windows as large as the table of positions, ragged at the far edges. */
function sparsePermutation(shapes: readonly Shape[], { positionRows, positionColumns }: MuseGlimmerVision) {
  const perm_P: number[] = [];
  const windowLengths: number[] = [];
  let offset = 0;
  for (const { height, width } of shapes) {
    const across = Math.ceil(width / positionColumns);
    const windows = Array.from({ length: Math.ceil(height / positionRows) * across }, (): number[] => []);
    for (let p = 0; p < height * width; p++) {
      const window = Math.floor(p / width / positionRows) * across + Math.floor((p % width) / positionColumns);
      windows[window]!.push(offset + p);
    }
    for (const window of windows) {
      perm_P.push(...window);
      windowLengths.push(window.length);
    }
    offset += height * width;
  }
  return { perm_P, windowLengths };
}

/** `_pixel_shuffle_downsample`: (h r1 w r2) d → (h w) (d r1 r2). */
function pixelShuffleDownsample<X extends Node>(
  op: Ops<X>,
  x: X,
  { height, width }: Shape,
  vision: MuseGlimmerVision,
): X {
  const { mergeSize: f, dim: d } = vision;
  const n = (height / f) * (width / f);
  const grouped = op.permute(op.reshape(x, [height / f, f, width / f, f * d]), [0, 2, 1, 3]);
  return op.reshape(op.permute(op.reshape(grouped, [n, f * f, d]), [0, 2, 1]), [n, d * f * f]);
}

// Muse Glimmer as transformers runs it. Suffixes name axes as in numerics/graph.ts; of the tower P patches, M merged
// patches, U width, H channels of a head.
//   huggingface/transformers@v5.23.0:src/transformers/models/muse_glimmer/modeling_muse_glimmer.py
//   huggingface/transformers@v5.23.0:src/transformers/vision_utils.py
//   huggingface/transformers@v5.24.0, where MuseGlimmerVisionPatchEmbedder swaps h and w
import type { Forward, ImageInput, Node, Ops, RopeTable, Tap, Weights } from "../../numerics/graph.ts";
import { ropeTable, transformersFrequencies } from "../../numerics/rope.ts";
import type { MuseGlimmerConfig, MuseGlimmerVision, TablePlace } from "./config.ts";

const TEXT = "model.language_model";
const TOWER = "model.vision_tower";
/** Epsilon of MuseGlimmerVisionEncoderLayer's norms, which ignore `layer_norm_eps`. */
const BLOCK_EPS = 1e-5;

type Grids = ImageInput["grids"];

/** @param reads where the tower reads its table of positions for the place (h, w) of an image */
export function hfForward(config: MuseGlimmerConfig, reads: TablePlace): Forward {
  const { vision, tokens, normEps } = config;
  const frequencies = transformersFrequencies(config.rope);

  return function* (op, weight, { ids_T, images }) {
    const w = (module: string) => weight(`${module}.weight`);
    const cosSin = ropeTable(frequencies, [...ids_T.keys()]);
    const block = decoderLayer(op, weight, config, cosSin);
    const image_MD =
      vision !== null && images !== undefined ? yield* imageFeatures(op, weight, vision, images, normEps, reads) : null;

    // Tokens of images and videos are looked up as id 0: other rows take their place later.
    const isPlaceholder = (id: number) => vision !== null && (id === tokens.image || id === tokens.video);
    const looked_T = ids_T.map((id) => (isPlaceholder(id) ? 0 : id));
    let hidden_TD = op.rmsNorm(op.gather(w(`${TEXT}.embed_tokens`), looked_T), null, normEps);
    if (image_MD !== null) hidden_TD = scatter(op, hidden_TD, image_MD, ids_T, tokens.image);
    yield { name: "embed", value: hidden_TD };

    for (let l = 0; l < config.nLayers; l++) {
      hidden_TD = block.attention(hidden_TD, l);
      yield { name: `layers.${l}.attn`, value: hidden_TD };
      hidden_TD = block.feedForward(hidden_TD, l);
      yield { name: `layers.${l}.ffn`, value: hidden_TD };
    }

    const normed_TD = op.rmsNorm(hidden_TD, w(`${TEXT}.norm`), normEps);
    yield { name: "norm", value: normed_TD };
    const logits_TV = op.linear(normed_TD, w(config.tied ? `${TEXT}.embed_tokens` : "lm_head"));
    const capped_TV = op.map("tanh", op.affine(op.affine(logits_TV, config.outputMultiplier), 1 / config.logitCap));
    return op.affine(capped_TV, config.logitCap);
  };
}

/** masked_scatter: rows of image tokens are those of `image_MD`, in order. */
function scatter<X extends Node>(op: Ops<X>, text_TD: X, image_MD: X, ids_T: readonly number[], imageToken: number): X {
  let next = ids_T.length;
  const rows_T = ids_T.map((id, t) => (id === imageToken ? next++ : t));
  return op.gather(op.concat([text_TD, image_MD], 0), rows_T);
}

/** x + norm(attention(norm x)) and x + norm(mlp(norm x)); the weights of these norms are centred on 0. */
function decoderLayer<X extends Node>(op: Ops<X>, weight: Weights<X>, config: MuseGlimmerConfig, cosSin: RopeTable) {
  const { nHeads: N, nKvHeads: K, headDim: H, normEps, postNormEps } = config;
  const w = (module: string) => weight(`${module}.weight`);
  const centredNorm = (x_TD: X, module: string, eps: number) => op.rmsNorm(x_TD, op.affine(w(module), 1, 1), eps);

  function attention(hidden_TD: X, l: number): X {
    const layer = `${TEXT}.layers.${l}`;
    const T = hidden_TD.shape[0]!;
    const x_TD = centredNorm(hidden_TD, `${layer}.input_layernorm`, normEps);
    const heads = (name: string, count: number) =>
      op.reshape(op.linear(x_TD, w(`${layer}.self_attn.${name}`)), [T, count, H]);
    let q_TNH = op.affine(op.rmsNorm(heads("q_proj", N), null, normEps), config.queryScale);
    let k_TKH = op.rmsNorm(heads("k_proj", K), null, normEps);
    if (!config.unrotatedLayers.includes(l)) {
      q_TNH = op.rope(q_TNH, cosSin, "half");
      k_TKH = op.rope(k_TKH, cosSin, "half");
    }
    const mixed_TNH = op.attention(q_TNH, k_TKH, heads("v_proj", K), {
      scale: H ** -0.5,
      mask: config.slidingLayers.includes(l) ? { kind: "window", size: config.window } : { kind: "causal" },
    });
    const gate_TI = op.map("sigmoid", op.linear(x_TD, w(`${layer}.self_attn.gate_proj`)));
    const out_TD = op.linear(op.mul(op.reshape(mixed_TNH, [T, N * H]), gate_TI), w(`${layer}.self_attn.o_proj`));
    return op.add(hidden_TD, centredNorm(out_TD, `${layer}.post_attention_layernorm`, postNormEps));
  }

  function feedForward(hidden_TD: X, l: number): X {
    const layer = `${TEXT}.layers.${l}`;
    const x_TD = centredNorm(hidden_TD, `${layer}.pre_feedforward_layernorm`, normEps);
    const gate_TF = op.map("silu", op.linear(x_TD, w(`${layer}.mlp.gate_proj`)));
    const up_TF = op.linear(x_TD, w(`${layer}.mlp.up_proj`));
    const out_TD = op.linear(op.mul(gate_TF, up_TF), w(`${layer}.mlp.down_proj`));
    return op.add(hidden_TD, centredNorm(out_TD, `${layer}.post_feedforward_layernorm`, postNormEps));
  }

  return { attention, feedForward };
}

/** Tower, adapter and projection: one row [D] for each square of patches. */
function* imageFeatures<X extends Node>(
  op: Ops<X>,
  weight: Weights<X>,
  vision: MuseGlimmerVision,
  images: ImageInput,
  textEps: number,
  reads: TablePlace,
): Generator<Tap<X>, X, void> {
  const { normEps } = vision;
  const { order_P, windows } = windowIndex(images.grids, vision.positionRows);
  const norm = (x_PU: X, module: string, eps: number) =>
    op.layerNorm(x_PU, weight(`${TOWER}.${module}.weight`), weight(`${TOWER}.${module}.bias`), eps);
  const block = encoderLayer(op, weight, vision, axialTable(vision, images.grids, order_P), norm);
  const whole = images.grids.flatMap(([t, h, w]) => Array<number>(t).fill(h * w));

  const pixels = op.constant(images.pixels, [images.patches, images.patchDim]);
  const patches_PU = op.linear(pixels, weight(`${TOWER}.patch_embedder.patch_embedding.weight`));
  const sampled = images.grids.map(([t, h, w]) => (reads === "(h, w)" ? ([t, h, w] as const) : ([t, w, h] as const)));
  const placed_PU = op.add(patches_PU, positionEmbeddings(op, weight, vision, sampled));
  let hidden_PU = op.gather(norm(placed_PU, "ln_pre", normEps), order_P);
  yield { name: "vision.embed", value: hidden_PU };

  for (let b = 0; b < vision.nBlocks; b++) {
    hidden_PU = block(hidden_PU, `layers.${b}`, vision.windowBlocks.includes(b) ? windows : whole);
    yield { name: `vision.${b}`, value: hidden_PU };
  }

  const reverse_P = Array<number>(order_P.length);
  for (const [i, patch] of order_P.entries()) reverse_P[patch] = i;
  const post_PU = norm(op.gather(hidden_PU, reverse_P), "ln_post", normEps);
  const fc = (x: X, module: string) => op.map("gelu", op.linear(x, weight(`model.vision_adapter.${module}.weight`)));
  const adapted = fc(fc(pixelShuffle(op, post_PU, images.grids, vision.mergeSize), "fc1"), "fc2");
  const image_MD = op.rmsNorm(op.linear(adapted, weight("model.vision_projection.weight")), null, textEps);
  yield { name: "vision.merged", value: image_MD };
  return image_MD;
}

function encoderLayer<X extends Node>(
  op: Ops<X>,
  weight: Weights<X>,
  { nHeads: N, dim: U }: MuseGlimmerVision,
  cosSin: RopeTable,
  norm: (x_PU: X, module: string, eps: number) => X,
) {
  const H = U / N;
  return (hidden_PU: X, layer: string, lengths: readonly number[]): X => {
    const P = hidden_PU.shape[0]!;
    const linear = (x: X, module: string) =>
      op.linear(x, weight(`${TOWER}.${layer}.${module}.weight`), weight(`${TOWER}.${layer}.${module}.bias`));
    const x_PU = norm(hidden_PU, `${layer}.norm1`, BLOCK_EPS);
    const heads = (name: string) => op.reshape(linear(x_PU, `attn.${name}`), [P, N, H]);
    const q_PNH = op.rope(heads("q_proj"), cosSin, "half");
    const k_PNH = op.rope(heads("k_proj"), cosSin, "half");
    const mask = { kind: "segments", lengths } as const;
    const mixed_PNH = op.attention(q_PNH, k_PNH, heads("v_proj"), { scale: H ** -0.5, mask });
    const attended_PU = op.add(hidden_PU, linear(op.reshape(mixed_PNH, [P, U]), "attn.proj"));
    const y_PU = norm(attended_PU, `${layer}.norm2`, BLOCK_EPS);
    return op.add(attended_PU, linear(op.map("gelu", linear(y_PU, "mlp.fc1")), "mlp.fc2"));
  };
}

/** get_vision_interpolation_indices_and_weights, bilinear, corners not aligned, zeros outside: four rows of the table. */
function positionEmbeddings<X extends Node>(
  op: Ops<X>,
  weight: Weights<X>,
  { positionRows: side }: MuseGlimmerVision,
  grids: Grids,
): X {
  const table = weight(`${TOWER}.patch_embedder.position_embedding_table.weight`);
  const taps = [0, 1, 2, 3].map((tap) => ({
    dy: tap >> 1,
    dx: tap & 1,
    rows: [] as number[],
    weights: [] as number[],
  }));
  for (const [t, h, w] of grids) {
    for (let p = 0; p < t * h * w; p++) {
      const [y, x] = [Math.floor(p / w) % h, p % w];
      for (const { dy, dx, rows, weights } of taps) {
        const [row, column] = [axisTap(y, h, side, dy), axisTap(x, w, side, dx)];
        rows.push(row.tap * side + column.tap);
        weights.push(Math.fround(row.weight * column.weight));
      }
    }
  }
  return taps
    .map(({ rows, weights }) => op.mul(op.gather(table, rows), op.constant(weights, [weights.length, 1])))
    .reduce((sum, one) => op.add(sum, one));
}

/** _interpolation_axis_taps_weights, in f32 as there. */
function axisTap(index: number, size: number, side: number, offset: 0 | 1 | number): { tap: number; weight: number } {
  const source = Math.fround(Math.fround((index + 0.5) * side) / size);
  const shifted = Math.fround(source - 0.5);
  const tap = Math.floor(shifted) + offset;
  const weight = Math.max(0, Math.fround(1 - Math.abs(Math.fround(shifted - tap))));
  return tap >= 0 && tap < side ? { tap, weight } : { tap: Math.min(Math.max(tap, 0), side - 1), weight: 0 };
}

/** Columns turn the first half of the pairs, rows the second; both are counted from 1. */
function axialTable(
  { dim, nHeads, ropeTheta }: MuseGlimmerVision,
  grids: Grids,
  order_P: readonly number[],
): RopeTable {
  const frequencies = transformersFrequencies({ kind: "default", theta: ropeTheta, dims: dim / nHeads / 2 });
  const places = grids.flatMap(([t, h, w]) =>
    Array.from({ length: t * h * w }, (_, p) => ({ row: (Math.floor(p / w) % h) + 1, column: (p % w) + 1 })),
  );
  const ofColumns = ropeTable(
    frequencies,
    order_P.map((p) => places[p]!.column),
  );
  const ofRows = ropeTable(
    frequencies,
    order_P.map((p) => places[p]!.row),
  );
  const { pairs: half, tokens } = ofRows;
  const both = (columns: Float32Array, rows: Float32Array) =>
    Float32Array.from({ length: tokens * 2 * half }, (_, i) => {
      const [p, pair] = [Math.floor(i / (2 * half)), i % (2 * half)];
      return pair < half ? columns[p * half + pair]! : rows[p * half + pair - half]!;
    });
  return { tokens, pairs: 2 * half, cos: both(ofColumns.cos, ofRows.cos), sin: both(ofColumns.sin, ofRows.sin) };
}

/** get_vision_window_index: patches window by window, and how many each window has. */
function windowIndex(grids: Grids, side: number): { order_P: number[]; windows: number[] } {
  const order_P: number[] = [];
  const windows: number[] = [];
  let first = 0;
  for (const [t, h, w] of grids) {
    for (let frame = 0; frame < t; frame++, first += h * w) {
      for (let top = 0; top < h; top += side) {
        for (let left = 0; left < w; left += side) {
          const [bottom, right] = [Math.min(top + side, h), Math.min(left + side, w)];
          for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) order_P.push(first + y * w + x);
          windows.push((bottom - top) * (right - left));
        }
      }
    }
  }
  return { order_P, windows };
}

/** Squares of patches become rows, channel by channel: element (channel, patch of the square). */
function pixelShuffle<X extends Node>(op: Ops<X>, x_PU: X, grids: Grids, m: number): X {
  const [P, U] = [x_PU.shape[0]!, x_PU.shape[1]!];
  const order: number[] = [];
  let first = 0;
  for (const [t, h, w] of grids) {
    for (let frame = 0; frame < t; frame++, first += h * w) {
      for (let y = 0; y < h; y += m) {
        for (let x = 0; x < w; x += m) {
          for (let i = 0; i < m * m; i++) order.push(first + (y + Math.floor(i / m)) * w + x + (i % m));
        }
      }
    }
  }
  const squares = op.reshape(op.gather(x_PU, order), [P / m ** 2, m ** 2, U]);
  return op.reshape(op.permute(squares, [0, 2, 1]), [P / m ** 2, U * m ** 2]);
}

// Qwen3-VL, dense and with experts, as transformers runs it. Suffixes name axes as in numerics/graph.ts; G is the ffn of an
// expert; of the tower P patches, M merged patches, U width, Z = m²·U channels of a merged patch.
//   huggingface/transformers@v5.23.0:src/transformers/models/qwen3_vl/modeling_qwen3_vl.py
//   huggingface/transformers@v5.23.0:src/transformers/models/qwen3_vl_moe/modeling_qwen3_vl_moe.py
//   huggingface/transformers@v5.23.0:src/transformers/vision_utils.py
import type { Forward, ImageInput, Node, Ops, RopeTable, Router, Tap, Weights } from "../../numerics/graph.ts";
import { type RopeFrequencies, ropeTable, transformersFrequencies } from "../../numerics/rope.ts";
import { softmax } from "../../numerics/routing.ts";
import type { Qwen3VlConfig, Qwen3VlExperts, Qwen3VlVision } from "./config.ts";

const TEXT = "model.language_model";
const TOWER = "model.visual";
/** Of every LayerNorm of the tower. */
const VISION_EPS = 1e-6;

type Grids = ImageInput["grids"];
type Positions = readonly (readonly [number, number, number])[];

export function hfForward(config: Qwen3VlConfig): Forward {
  const { vision, tokens, normEps } = config;
  const frequencies = transformersFrequencies(config.rope);

  return function* (op, weight, { ids_T, images, positions_T3 }) {
    const w = (module: string) => weight(`${module}.weight`);
    const positions = positions_T3 ?? ropeIndex(ids_T, images?.grids ?? [], tokens.image, vision.mergeSize);
    const block = decoderLayer(op, weight, config, interleavedTable(frequencies, positions, config.mropeSection));
    const seen = images === undefined ? null : yield* visionModel(op, weight, vision, images);
    const deepstack = seen?.deepstack ?? [];

    let hidden_TD = op.gather(w(`${TEXT}.embed_tokens`), ids_T);
    if (seen !== null) {
      // masked_scatter: rows of image tokens are those of the tower, in order
      let next = ids_T.length;
      const rows_T = ids_T.map((id, t) => (id === tokens.image ? next++ : t));
      hidden_TD = op.gather(op.concat([hidden_TD, seen.image_MD], 0), rows_T);
    }
    yield { name: "embed", value: hidden_TD, keep: deepstack };

    for (let l = 0; l < config.nLayers; l++) {
      hidden_TD = block.attention(hidden_TD, l);
      yield { name: `layers.${l}.attn`, value: hidden_TD, keep: deepstack.slice(l) };
      hidden_TD = block.feedForward(hidden_TD, l);
      yield { name: `layers.${l}.ffn`, value: hidden_TD, keep: deepstack.slice(l) };
      const features_MD = deepstack[l];
      if (features_MD === undefined) continue;
      hidden_TD = op.add(hidden_TD, atImages(op, features_MD, ids_T, tokens.image));
      yield { name: `layers.${l}.deepstack`, value: hidden_TD, keep: deepstack.slice(l + 1) };
    }

    const last_TD = op.rmsNorm(hidden_TD, w(`${TEXT}.norm`), normEps);
    yield { name: "norm", value: last_TD };
    return op.linear(last_TD, w(config.tied ? `${TEXT}.embed_tokens` : "lm_head"));
  };
}

/** Rows of `features_MD` at image tokens, in order, and zeros elsewhere: [T, D]. */
function atImages<X extends Node>(op: Ops<X>, features_MD: X, ids_T: readonly number[], imageToken: number): X {
  const dim = features_MD.shape[1]!;
  let next = 1;
  const rows_T = ids_T.map((id) => (id === imageToken ? next++ : 0));
  return op.gather(op.concat([op.constant(new Float32Array(dim), [1, dim]), features_MD], 0), rows_T);
}

/**
 * get_rope_index: text counts on along all three axes; an image stands still in time and spreads over rows and columns,
 * and what follows it goes on behind its longer side.
 */
function ropeIndex(ids_T: readonly number[], grids: Grids, imageToken: number, m: number): Positions {
  const positions: [number, number, number][] = [];
  const rest = [...grids];
  let current = 0;
  while (positions.length < ids_T.length) {
    const grid = ids_T[positions.length] === imageToken ? rest.shift() : undefined;
    if (grid === undefined) {
      positions.push([current, current, current]);
      current++;
      continue;
    }
    const [frames, height, width] = grid;
    for (let t = 0; t < frames; t++) {
      for (let y = 0; y < height / m; y++) {
        for (let x = 0; x < width / m; x++) positions.push([current + t, current + y, current + x]);
      }
    }
    current += Math.floor(Math.max(height, width) / m);
  }
  return positions;
}

/** recomposition_frequencies: pairs turn with time, but every third from 1 on with the row and from 2 on with the column. */
function interleavedTable(
  frequencies: RopeFrequencies,
  positions: Positions,
  section: Qwen3VlConfig["mropeSection"],
): RopeTable {
  const [time, row, column] = [0, 1, 2].map((axis) =>
    ropeTable(
      frequencies,
      positions.map((position) => position[axis]!),
    ),
  );
  const table = time!;
  for (const [axis, own] of [
    [1, row!],
    [2, column!],
  ] as const) {
    const end = Math.min(3 * section[axis]!, table.pairs);
    for (let pair = axis; pair < end; pair += 3) {
      for (let i = pair; i < table.cos.length; i += table.pairs) {
        table.cos[i] = own.cos[i]!;
        table.sin[i] = own.sin[i]!;
      }
    }
  }
  return table;
}

/** Softmax over all experts; the chosen ones' made to sum to 1. */
const routerOf = ({ topK }: Qwen3VlExperts): Router => ({
  k: topK,
  select: (logits_E) => softmax(logits_E),
  weigh: (logits_E, experts) => {
    const probabilities = softmax(logits_E);
    const chosen = experts.map((e) => probabilities[e]!);
    const total = chosen.reduce((sum, p) => sum + p, 0);
    return chosen.map((p) => p / total);
  },
});

function decoderLayer<X extends Node>(op: Ops<X>, weight: Weights<X>, config: Qwen3VlConfig, cosSin: RopeTable) {
  const { nHeads, nKvHeads, headDim, normEps, attentionBias, moe } = config;
  const w = (module: string) => weight(`${module}.weight`);
  const b = (module: string) => (attentionBias ? weight(`${module}.bias`) : undefined);

  /** x + o_proj(softmax(rope(norm q) · rope(norm k)ᵀ · headDim^-½) · v). */
  function attention(hidden_TD: X, l: number): X {
    const tokens = hidden_TD.shape[0]!;
    const module = `${TEXT}.layers.${l}.self_attn`;
    const normed_TD = op.rmsNorm(hidden_TD, w(`${TEXT}.layers.${l}.input_layernorm`), normEps);
    const heads = (name: string, count: number) =>
      op.reshape(op.linear(normed_TD, w(`${module}.${name}`), b(`${module}.${name}`)), [tokens, count, headDim]);
    const q_TNH = op.rmsNorm(heads("q_proj", nHeads), w(`${module}.q_norm`), normEps);
    const k_TKH = op.rmsNorm(heads("k_proj", nKvHeads), w(`${module}.k_norm`), normEps);
    const mixed_TNH = op.attention(
      op.rope(q_TNH, cosSin, "half"),
      op.rope(k_TKH, cosSin, "half"),
      heads("v_proj", nKvHeads),
      { scale: headDim ** -0.5, mask: { kind: "causal" } },
    );
    const mixed_TI = op.reshape(mixed_TNH, [tokens, nHeads * headDim]);
    return op.add(hidden_TD, op.linear(mixed_TI, w(`${module}.o_proj`), b(`${module}.o_proj`)));
  }

  /** x + down(silu(gate x) ⊙ up x), of one MLP or of the chosen experts. */
  function feedForward(hidden_TD: X, l: number): X {
    const module = `${TEXT}.layers.${l}.mlp`;
    const x_TD = op.rmsNorm(hidden_TD, w(`${TEXT}.layers.${l}.post_attention_layernorm`), normEps);
    if (moe === null || moe.denseLayers.includes(l)) {
      const gate_TF = op.map("silu", op.linear(x_TD, w(`${module}.gate_proj`)));
      const product_TF = op.mul(gate_TF, op.linear(x_TD, w(`${module}.up_proj`)));
      return op.add(hidden_TD, op.linear(product_TF, w(`${module}.down_proj`)));
    }
    const logits_TE = op.linear(x_TD, w(`${module}.gate`));
    const routing = { name: `layers.${l}`, logits_TE, router: routerOf(moe), weighs: "output" } as const;
    return op.add(hidden_TD, op.mixture(x_TD, routing, expertOf(op, weight, moe, `${module}.experts`)));
  }

  return { attention, feedForward };
}

/**
 * Qwen3VLMoeTextExperts. The Hub's files hold each matrix [in, out], those that transformers saves [out, in]; where `down`
 * is square, 2G is not D and `gate_up` tells.
 */
function expertOf<X extends Node>(op: Ops<X>, weight: Weights<X>, { expertDim: G }: Qwen3VlExperts, module: string) {
  const [gateUp, down] = [weight(`${module}.gate_up_proj`), weight(`${module}.down_proj`)];
  const isOutFirst = down.shape[1] === down.shape[2] ? gateUp.shape[1] === 2 * G : down.shape[2] === G;
  const matrix = (stacked: X, e: number) => {
    const own = op.reshape(op.slice(stacked, 0, e, e + 1), stacked.shape.slice(1));
    return isOutFirst ? own : op.permute(own, [1, 0]);
  };
  return (x_nD: X, e: number): X => {
    const gateUp_nG2 = op.linear(x_nD, matrix(gateUp, e));
    const gate_nG = op.map("silu", op.slice(gateUp_nG2, 1, 0, G));
    return op.linear(op.mul(gate_nG, op.slice(gateUp_nG2, 1, G, 2 * G)), matrix(down, e));
  };
}

/** Qwen3VLVisionModel: one row [D] for each square of patches, and those that DeepStack adds to the first layers. */
function* visionModel<X extends Node>(
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

// Kimi K2.5 to K2.7 and Kimi-VL as transformers runs them: MoonViT, its projector, and DeepSeek-V3. Suffixes name axes as in
// numerics/graph.ts; Z, Q latents, R rotated channels; of the tower P patches, U width, S patches of a merged token.
//   huggingface/transformers@v5.23.0:src/transformers/models/kimi_k25/modeling_kimi_k25.py
//   huggingface/transformers@v5.23.0:src/transformers/models/deepseek_v3/modeling_deepseek_v3.py
//   huggingface/transformers@v5.23.0:src/transformers/vision_utils.py
import type { Forward, ImageInput, Node, Ops, RopeTable, Router, Tap, Weights } from "../../numerics/graph.ts";
import { ropeTable, transformersFrequencies } from "../../numerics/rope.ts";
import { sigmoid, topK } from "../../numerics/routing.ts";
import type { KimiConfig, KimiVision } from "./config.ts";

const TEXT = "language_model.model";
const TOWER = "vision_tower";
/** Epsilon of the tower's LayerNorms; no config changes it. */
const TOWER_EPS = 1e-5;
/** Epsilon of the latents' norms. transformers builds these norms without `rms_norm_eps`. */
const LATENT_EPS = 1e-6;

type TextConfig = KimiConfig["text"];
type Grids = ImageInput["grids"];

export function hfForward(config: KimiConfig): Forward {
  const { text, tokens } = config;
  const frequencies = transformersFrequencies(text.rope);

  return function* (op, weight, { ids_T, images }) {
    const w = (module: string) => weight(`${module}.weight`);
    const block = decoderLayer(op, weight, text, ropeTable(frequencies, [...ids_T.keys()]));
    const image_MD = images === undefined ? null : yield* imageFeatures(op, weight, config, images);

    // Tokens of images and videos are looked up as id 0: other rows take their place later.
    const looked_T = ids_T.map((id) => (id === tokens.image || id === tokens.video ? 0 : id));
    let hidden_TD = op.gather(w(`${TEXT}.embed_tokens`), looked_T);
    if (image_MD !== null) {
      let next = ids_T.length;
      const rows_T = ids_T.map((id, t) => (id === tokens.image ? next++ : t));
      hidden_TD = op.gather(op.concat([hidden_TD, image_MD], 0), rows_T);
    }
    yield { name: "embed", value: hidden_TD };

    for (let l = 0; l < text.nLayers; l++) {
      hidden_TD = block.attention(hidden_TD, `${TEXT}.layers.${l}`);
      yield { name: `layers.${l}.attn`, value: hidden_TD };
      hidden_TD = block.feedForward(hidden_TD, l);
      yield { name: `layers.${l}.ffn`, value: hidden_TD };
    }
    const last_TD = op.rmsNorm(hidden_TD, w(`${TEXT}.norm`), text.normEps);
    yield { name: "norm", value: last_TD };
    return op.linear(last_TD, w(text.tied ? `${TEXT}.embed_tokens` : "language_model.lm_head"));
  };
}

/**
 * DeepseekV3TopkRouter: the groups with the largest sum of two best scores are kept; in them, the k largest sigmoid +
 * bias are chosen.
 */
function routerOf(text: TextConfig): Router {
  const { nExperts, nGroups, groupsPerToken } = text;
  const size = nExperts / nGroups;
  return {
    k: text.expertsPerToken,
    select(logits_E, bias_E) {
      const scores_E = logits_E.map((logit, e) => sigmoid(logit) + bias_E![e]!);
      const groupScores = Array.from({ length: nGroups }, (_, g) => {
        const group = scores_E.subarray(g * size, (g + 1) * size);
        return topK(group, 2).reduce((sum, i) => sum + group[i]!, 0);
      });
      const chosen = new Set(topK(groupScores, groupsPerToken));
      return scores_E.map((score, e) => (chosen.has(Math.floor(e / size)) ? score : Number.NEGATIVE_INFINITY));
    },
    weigh(logits_E, experts) {
      const scores = experts.map((e) => sigmoid(logits_E[e]!));
      const sum = text.normaliseWeights ? scores.reduce((total, score) => total + score, 0) + 1e-20 : 1;
      return scores.map((score) => (score / sum) * text.routeScale);
    },
  };
}

/** `yarn_apply_mscale`. */
function softmaxScale({ rope, nopeDim, ropeDim }: TextConfig): number {
  const allDim = rope.kind === "yarn" ? (rope.mscaleAllDim ?? 0) : 0;
  const mscale = rope.kind === "yarn" && allDim && rope.factor > 1 ? 0.1 * allDim * Math.log(rope.factor) + 1 : 1;
  return (nopeDim + ropeDim) ** -0.5 * mscale * mscale;
}

/** x + attention(norm x) and x + mlp(norm x). */
function decoderLayer<X extends Node>(op: Ops<X>, weight: Weights<X>, text: TextConfig, cosSin: RopeTable) {
  const { nHeads: N, qLoraRank, kvLoraRank: Z, nopeDim, ropeDim: R, valueDim: C, normEps } = text;
  const router = routerOf(text);
  const scale = softmaxScale(text);
  const w = (module: string) => weight(`${module}.weight`);

  function queries(x_TD: X, self: string): X {
    if (qLoraRank === null) return op.linear(x_TD, w(`${self}.q_proj`));
    const latent_TQ = op.rmsNorm(op.linear(x_TD, w(`${self}.q_a_proj`)), w(`${self}.q_a_layernorm`), LATENT_EPS);
    return op.linear(latent_TQ, w(`${self}.q_b_proj`));
  }

  function attention(hidden_TD: X, layer: string): X {
    const T = hidden_TD.shape[0]!;
    const self = `${layer}.self_attn`;
    const x_TD = op.rmsNorm(hidden_TD, w(`${layer}.input_layernorm`), normEps);
    const q_TNH = op.reshape(queries(x_TD, self), [T, N, nopeDim + R]);
    const qRot_TNR = op.rope(op.slice(q_TNH, 2, nopeDim, nopeDim + R), cosSin, "adjacent");

    const compressed = op.linear(x_TD, w(`${self}.kv_a_proj_with_mqa`));
    const latent_TZ = op.rmsNorm(op.slice(compressed, 1, 0, Z), w(`${self}.kv_a_layernorm`), LATENT_EPS);
    const kRot_T1R = op.rope(op.reshape(op.slice(compressed, 1, Z, Z + R), [T, 1, R]), cosSin, "adjacent");
    const kv_TNH = op.reshape(op.linear(latent_TZ, w(`${self}.kv_b_proj`)), [T, N, nopeDim + C]);
    // All heads share one rotated key.
    const rows = Array.from({ length: T * N }, (_, i) => Math.floor(i / N));
    const kRot_TNR = op.reshape(op.gather(op.reshape(kRot_T1R, [T, R]), rows), [T, N, R]);

    const mixed_TNC = op.attention(
      op.concat([op.slice(q_TNH, 2, 0, nopeDim), qRot_TNR], 2),
      op.concat([op.slice(kv_TNH, 2, 0, nopeDim), kRot_TNR], 2),
      op.slice(kv_TNH, 2, nopeDim, nopeDim + C),
      { scale, mask: { kind: "causal" } },
    );
    return op.add(hidden_TD, op.linear(op.reshape(mixed_TNC, [T, N * C]), w(`${self}.o_proj`)));
  }

  const mlp = (x_TD: X, module: string) => {
    const gate_TF = op.map("silu", op.linear(x_TD, w(`${module}.gate_proj`)));
    return op.linear(op.mul(gate_TF, op.linear(x_TD, w(`${module}.up_proj`))), w(`${module}.down_proj`));
  };

  function feedForward(hidden_TD: X, l: number): X {
    const layer = `${TEXT}.layers.${l}`;
    const module = `${layer}.mlp`;
    const x_TD = op.rmsNorm(hidden_TD, w(`${layer}.post_attention_layernorm`), normEps);
    if (l < text.nDenseLayers) return op.add(hidden_TD, mlp(x_TD, module));
    const routing = {
      name: `layers.${l}`,
      logits_TE: op.linear(x_TD, w(`${module}.gate`)),
      bias_E: weight(`${module}.gate.e_score_correction_bias`),
      router,
      weighs: "output",
    } as const;
    const routed_TD = op.mixture(x_TD, routing, (x_nD, e) => mlp(x_nD, `${module}.experts.${e}`));
    return op.add(hidden_TD, op.add(routed_TD, mlp(x_TD, `${module}.shared_experts`)));
  }

  return { attention, feedForward };
}

/** Kimi_K25VisionModel and Kimi_K25MultimodalProjection: one row [D] for each square of patches of an image. */
function* imageFeatures<X extends Node>(
  op: Ops<X>,
  weight: Weights<X>,
  { vision, modelType }: KimiConfig,
  images: ImageInput,
): Generator<Tap<X>, X, void> {
  const { dim: U, mergeRows, mergeColumns } = vision;
  const norm = (x_PU: X, module: string, eps: number) =>
    op.layerNorm(x_PU, weight(`${module}.weight`), weight(`${module}.bias`), eps);
  const linear = (x: X, module: string) => op.linear(x, weight(`${module}.weight`), weight(`${module}.bias`));
  const block = encoderLayer(op, norm, linear, vision, images.grids);

  // A convolution whose stride is its kernel: one product with a patch.
  const kernel = op.reshape(weight(`${TOWER}.patch_embed.proj.weight`), [U, images.patchDim]);
  const pixels = op.constant(images.pixels, [images.patches, images.patchDim]);
  const patches_PU = op.linear(pixels, kernel, weight(`${TOWER}.patch_embed.proj.bias`));
  let hidden_PU = op.add(patches_PU, positionEmbeddings(op, weight, vision, images.grids));
  yield { name: "vision.embed", value: hidden_PU };

  for (let b = 0; b < vision.nBlocks; b++) {
    hidden_PU = block(hidden_PU, `${TOWER}.encoder.blocks.${b}`);
    yield { name: `vision.${b}`, value: hidden_PU };
  }

  const last_PU = norm(hidden_PU, `${TOWER}.encoder.final_layernorm`, TOWER_EPS);
  const [preNorm, inProj, outProj] =
    modelType === "kimi_vl"
      ? ["multi_modal_projector.pre_norm", "multi_modal_projector.linear_1", "multi_modal_projector.linear_2"]
      : ["mm_projector.pre_norm", "mm_projector.proj.0", "mm_projector.proj.2"];
  const S = mergeRows * mergeColumns;
  const pooled_PU = op.gather(norm(last_PU, preNorm!, vision.projectorEps), mergeIndex(vision, images.grids));
  const merged = op.reshape(pooled_PU, [images.patches / S, S * U]);
  const image_MD = linear(op.map("gelu", linear(merged, inProj!)), outProj!);
  yield { name: "vision.merged", value: image_MD };
  return image_MD;
}

/** Kimi_K25VisionEncoderLayer, over the Hub's fused queries, keys and values, whose rotated channels are adjacent. */
function encoderLayer<X extends Node>(
  op: Ops<X>,
  norm: (x_PU: X, module: string, eps: number) => X,
  linear: (x: X, module: string) => X,
  vision: KimiVision,
  grids: Grids,
) {
  const { nHeads: N, dim: U } = vision;
  const H = U / N;
  const cosSin = axialTable(vision, grids);
  const mask = { kind: "segments", lengths: grids.map(([t, h, w]) => t * h * w) } as const;
  return (hidden_PU: X, layer: string): X => {
    const P = hidden_PU.shape[0]!;
    const qkv = linear(norm(hidden_PU, `${layer}.norm0`, TOWER_EPS), `${layer}.wqkv`);
    const [q_PNH, k_PNH, v_PNH] = [0, 1, 2].map((i) => op.reshape(op.slice(qkv, 1, i * U, (i + 1) * U), [P, N, H]));
    const mixed_PNH = op.attention(op.rope(q_PNH!, cosSin, "adjacent"), op.rope(k_PNH!, cosSin, "adjacent"), v_PNH!, {
      scale: H ** -0.5,
      mask,
    });
    const attended_PU = op.add(hidden_PU, linear(op.reshape(mixed_PNH, [P, U]), `${layer}.wo`));
    const y_PU = norm(attended_PU, `${layer}.norm1`, TOWER_EPS);
    return op.add(attended_PU, linear(op.map("geluTanh", linear(y_PU, `${layer}.mlp.fc0`)), `${layer}.mlp.fc1`));
  };
}

/** Row and column of each patch in raster order. */
const placesOf = (grids: Grids) =>
  grids.flatMap(([t, h, w]) =>
    Array.from({ length: t * h * w }, (_, p) => ({ row: Math.floor(p / w) % h, column: p % w, h, w })),
  );

/** Pair 2k turns with the column, pair 2k + 1 with the row, both at frequency k. */
function axialTable({ dim, nHeads, ropeTheta }: KimiVision, grids: Grids): RopeTable {
  const frequencies = transformersFrequencies({ kind: "default", theta: ropeTheta, dims: dim / nHeads / 2 });
  const places = placesOf(grids);
  const ofColumns = ropeTable(
    frequencies,
    places.map(({ column }) => column),
  );
  const ofRows = ropeTable(
    frequencies,
    places.map(({ row }) => row),
  );
  const interleaved = (columns: Float32Array, rows: Float32Array) =>
    Float32Array.from({ length: 2 * rows.length }, (_, i) => (i % 2 === 0 ? columns : rows)[i >> 1]!);
  return {
    tokens: places.length,
    pairs: 2 * ofRows.pairs,
    cos: interleaved(ofColumns.cos, ofRows.cos),
    sin: interleaved(ofColumns.sin, ofRows.sin),
  };
}

/** get_vision_interpolation_indices_and_weights, bicubic, corners not aligned, edges repeated: 16 rows of the table. */
function positionEmbeddings<X extends Node>(op: Ops<X>, weight: Weights<X>, vision: KimiVision, grids: Grids): X {
  const { positionRows: side, dim: U } = vision;
  const table = op.reshape(weight(`${TOWER}.patch_embed.pos_emb.weight`), [side * vision.positionColumns, U]);
  const places = placesOf(grids);
  const taps = Array.from({ length: 16 }, (_, tap) => {
    const both = places.map(({ row, column, h, w }) => {
      const y = axisTap(row, h, side, (tap >> 2) - 1);
      const x = axisTap(column, w, side, (tap & 3) - 1);
      return { row: y.tap * side + x.tap, weight: Math.fround(y.weight * x.weight) };
    });
    const weights = op.constant(
      both.map((one) => one.weight),
      [both.length, 1],
    );
    return op.mul(
      op.gather(
        table,
        both.map((one) => one.row),
      ),
      weights,
    );
  });
  return taps.reduce((sum, one) => op.add(sum, one));
}

/** _interpolation_axis_taps_weights: Keys' kernel with a = -¾, in f32 as there. */
function axisTap(index: number, size: number, side: number, offset: number): { tap: number; weight: number } {
  const f32 = Math.fround;
  const source = f32(f32(f32((index + 0.5) * side) / size) - 0.5);
  const floor = Math.floor(source);
  const d = Math.abs(f32(f32(source - floor) - offset));
  const a = -0.75;
  const near = f32(f32(f32(f32(f32((a + 2) * d) - (a + 3)) * d) * d) + 1);
  const far = f32(f32(f32(f32(f32(f32(a * d) - 5 * a) * d) + 8 * a) * d) - 4 * a);
  return { tap: Math.min(Math.max(floor + offset, 0), side - 1), weight: d <= 1 ? near : far };
}

/** get_vision_temporal_merge_index of single frames: patches square by square, row by row. */
function mergeIndex({ mergeRows, mergeColumns }: KimiVision, grids: Grids): number[] {
  const index: number[] = [];
  let first = 0;
  for (const [, h, w] of grids) {
    for (let y = 0; y < h; y += mergeRows) {
      for (let x = 0; x < w; x += mergeColumns) {
        for (let dy = 0; dy < mergeRows; dy++) {
          for (let dx = 0; dx < mergeColumns; dx++) index.push(first + (y + dy) * w + x + dx);
        }
      }
    }
    first += h * w;
  }
  return index;
}

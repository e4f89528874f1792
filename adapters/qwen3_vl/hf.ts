// Qwen3-VL, dense and with experts, as transformers runs it. Suffixes name axes as in numerics/graph.ts; G is the ffn of an
// expert, M merged patches.
//   huggingface/transformers@v5.23.0:src/transformers/models/qwen3_vl/modeling_qwen3_vl.py
//   huggingface/transformers@v5.23.0:src/transformers/models/qwen3_vl_moe/modeling_qwen3_vl_moe.py
import type { Forward, ImageInput, Node, Ops, RopeTable, Router, Weights } from "../../numerics/graph.ts";
import { type RopeFrequencies, ropeTable, transformersFrequencies } from "../../numerics/rope.ts";
import { softmax } from "../../numerics/routing.ts";
import type { Qwen3VlConfig, Qwen3VlExperts } from "./config.ts";
import { visionModel } from "./hf-vision.ts";

const TEXT = "model.language_model";

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
 * get_rope_index: text advances on all three axes. An image has one time, and its rows and columns spread over the
 * other two axes. What follows an image continues after its longer side.
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

/** Softmax over all experts; the weights of the chosen ones are normalised to sum to 1. */
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
 * Qwen3VLMoeTextExperts. The Hub's files hold each matrix [in, out], files that transformers saved [out, in]. Shapes
 * tell which. Where `down` is square, 2G is not D, and `gate_up` tells.
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

// Qwen3.5, dense and with experts, as transformers runs it. Suffixes name axes as in numerics/graph.ts; G is the ffn of an
// expert, M merged patches.
//   huggingface/transformers@v5.23.0:src/transformers/models/qwen3_5/modeling_qwen3_5.py
//   huggingface/transformers@v5.23.0:src/transformers/models/qwen3_5_moe/modeling_qwen3_5_moe.py
//   vllm-project/vllm@01d99805d1ef3d21d30e21a0ae387643fe0cd45a:vllm/model_executor/models/qwen3_5_mtp.py, for the head that
//   predicts a second token, which transformers leaves out
import type { Forward, ImageInput, Node, Ops, RopeTable, Weights } from "../../numerics/graph.ts";
import { type RopeFrequencies, ropeTable, transformersFrequencies } from "../../numerics/rope.ts";
import { hfGatedDelta, routerOf, zeroCentredNorm } from "../common/gated-delta/hf.ts";
import type { Qwen35Config } from "./config.ts";
import { visionModel } from "./hf-vision.ts";

type Positions = readonly (readonly [number, number, number])[];

export function hfForward(config: Qwen35Config): Forward {
  const { vision, tokens, normEps, nLayers } = config;
  const text = vision === null ? "model" : "model.language_model";
  const frequencies = transformersFrequencies(config.rope);

  return function* (op, weight, { ids_T, images, positions_T3, has }) {
    const seen = vision !== null && tokens !== null && images !== undefined ? { vision, tokens, images } : null;
    const features_MD = seen && (yield* visionModel(op, weight, seen.vision, seen.images));
    const positions =
      positions_T3 ??
      (seen === null
        ? ids_T.map((_, t) => [t, t, t] as const)
        : ropeIndex(ids_T, seen.images.grids, seen.tokens.image, seen.vision.mergeSize));
    const table = interleavedTable(frequencies, positions, config.mropeSection);
    const layer = decoderLayer(op, weight, config, table);

    let hidden_TD = op.gather(weight(`${text}.embed_tokens.weight`), ids_T);
    if (seen !== null && features_MD !== null) {
      // masked_scatter: rows of image tokens are those of the tower, in order
      let next = ids_T.length;
      const rows_T = ids_T.map((id, t) => (id === seen.tokens.image ? next++ : t));
      hidden_TD = op.gather(op.concat([hidden_TD, features_MD], 0), rows_T);
    }
    yield { name: "embed", value: hidden_TD };

    for (let l = 0; l < nLayers; l++) {
      const mix = config.fullLayers.includes(l) ? layer.selfAttention : layer.linearAttention;
      hidden_TD = op.add(hidden_TD, mix(hidden_TD, `${text}.layers.${l}`));
      yield { name: `layers.${l}.attn`, value: hidden_TD };
      hidden_TD = op.add(hidden_TD, layer.mlp(hidden_TD, `${text}.layers.${l}`, `layers.${l}`));
      yield { name: `layers.${l}.ffn`, value: hidden_TD };
    }

    const last_TD = zeroCentredNorm(op, hidden_TD, weight(`${text}.norm.weight`), normEps);
    if (has?.("mtp.fc.weight")) {
      const ahead_TD = op.gather(weight(`${text}.embed_tokens.weight`), [...ids_T.slice(1), 0]);
      const joined = [layer.norm(ahead_TD, "mtp.pre_fc_norm_embedding"), layer.norm(last_TD, "mtp.pre_fc_norm_hidden")];
      let next_TD = op.linear(op.concat(joined, 1), weight("mtp.fc.weight"));
      next_TD = op.add(next_TD, layer.selfAttention(next_TD, "mtp.layers.0"));
      next_TD = op.add(next_TD, layer.mlp(next_TD, "mtp.layers.0", "mtp.0"));
      yield { name: "mtp.0", value: layer.norm(next_TD, "mtp.norm"), keep: [last_TD] };
    }
    yield { name: "norm", value: last_TD };
    return op.linear(last_TD, weight(config.tied ? `${text}.embed_tokens.weight` : "lm_head.weight"));
  };
}

/**
 * get_rope_index: text advances on all three axes. An image has one time, and its rows and columns spread over the
 * other two axes. What follows an image continues after its longer side.
 */
function ropeIndex(ids_T: readonly number[], grids: ImageInput["grids"], imageToken: number, m: number): Positions {
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
    for (let t = 0; t < frames; t++)
      for (let y = 0; y < height / m; y++)
        for (let x = 0; x < width / m; x++) positions.push([current + t, current + y, current + x]);
    current += Math.floor(Math.max(height, width) / m);
  }
  return positions;
}

/** recomposition_frequencies: pairs turn with time, but every third from 1 on with the row and from 2 on with the column. */
function interleavedTable(frequencies: RopeFrequencies, positions: Positions, section: readonly number[]): RopeTable {
  const ofAxis = (axis: number) =>
    ropeTable(
      frequencies,
      positions.map((position) => position[axis]!),
    );
  const table = ofAxis(0);
  for (const axis of [1, 2]) {
    const own = ofAxis(axis);
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

/** The parts of a layer. Each reads the residual stream and returns what is added to it. */
function decoderLayer<X extends Node>(op: Ops<X>, weight: Weights<X>, config: Qwen35Config, cosSin: RopeTable) {
  const { delta, moe } = config;
  const parts = hfGatedDelta(op, weight, config, cosSin);
  const { linear, norm } = parts;
  const before = (hidden_TD: X, layer: string) => norm(hidden_TD, `${layer}.input_layernorm`);

  const selfAttention = (hidden_TD: X, layer: string) =>
    parts.selfAttention(before(hidden_TD, layer), `${layer}.self_attn`);

  function linearAttention(hidden_TD: X, layer: string): X {
    const module = `${layer}.linear_attn`;
    const normed_TD = before(hidden_TD, layer);
    const z_TC = linear(normed_TD, `${module}.in_proj_z`);
    const projected = {
      qkv_TC: linear(normed_TD, `${module}.in_proj_qkv`),
      z_TWV: op.reshape(z_TC, [z_TC.shape[0]!, delta.nValueHeads, delta.valueHeadDim]),
      b_TW: linear(normed_TD, `${module}.in_proj_b`),
      a_TW: linear(normed_TD, `${module}.in_proj_a`),
    };
    return parts.linearAttention(projected, module);
  }

  function mlp(hidden_TD: X, layer: string, name: string): X {
    const normed_TD = norm(hidden_TD, `${layer}.post_attention_layernorm`);
    const module = `${layer}.mlp`;
    if (moe === null) return parts.gatedMlp(normed_TD, module);
    const gateUp_E2GD = weight(`${module}.experts.gate_up_proj`);
    const down_EDG = weight(`${module}.experts.down_proj`);
    const expert = (stacked: X, e: number) => op.reshape(op.slice(stacked, 0, e, e + 1), stacked.shape.slice(1));
    const routing = {
      name,
      logits_TE: linear(normed_TD, `${module}.gate`),
      router: routerOf(moe.topK),
      weighs: "output",
    } as const;
    const routed_TD = op.mixture(normed_TD, routing, (x_nD, e) => {
      const both_nG = op.linear(x_nD, expert(gateUp_E2GD, e));
      const gate_nG = op.map("silu", op.slice(both_nG, 1, 0, moe.expertDim));
      return op.linear(op.mul(gate_nG, op.slice(both_nG, 1, moe.expertDim, 2 * moe.expertDim)), expert(down_EDG, e));
    });
    return op.add(routed_TD, parts.sharedExpert(normed_TD, module));
  }

  return { norm, selfAttention, linearAttention, mlp };
}

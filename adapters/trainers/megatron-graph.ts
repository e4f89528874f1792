// GPTModel of Megatron-Core, as its forward pass runs it on one rank. Suffixes name axes as in numerics/graph.ts; R = N/K query
// heads share a key head. A family gives what its layers do, as blocks; `gqa` and `gatedMlp` are those of dense models.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/models/gpt/gpt_model.py
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/transformer/{transformer_layer,attention,mlp,dot_product_attention}.py
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/models/common/embeddings/rotary_pos_embedding.py
import type { AttentionMask, Forward, Node, Ops, RopeTable } from "../../numerics/graph.ts";
import { type RopeFrequencies, type RopeSpec, ropeTable, transformersFrequencies } from "../../numerics/rope.ts";
import { InputError } from "../../src/base/errors.ts";

/** What a block of layer l computes with. */
export interface InLayer<N extends Node> {
  readonly op: Ops<N>;
  readonly layer: number;
  /** A tensor of the layer by its name in it: `mlp.linear_fc1.weight`. */
  readonly weight: (name: string) => N;
  readonly has: (name: string) => boolean;
  readonly table: RopeTable;
  /** As reports name it: `layers.3`, `mtp.0`. */
  readonly name: string;
}

/** What a layer adds to the residual stream x [T, D], norm included. */
export type LayerBlock = <N extends Node>(at: InLayer<N>, x_TD: N) => N;

export interface GptModel {
  readonly nLayers: number;
  readonly normEps: number;
  /** `share_embeddings_and_output_weights` */
  readonly tied: boolean;
  readonly frequencies: RopeFrequencies;
  readonly attention: LayerBlock;
  readonly mlp: LayerBlock;
  /** Layers that predict further tokens, as the last of the decoder; none unless given. */
  readonly nFurther?: number;
}

/** TransformerBlock between embedding and output layer. */
export const gptForward = (model: GptModel): Forward =>
  function* (op, weight, { ids_T, has = () => false }) {
    const { nLayers, normEps, tied, attention, mlp, nFurther = 0 } = model;
    const embedding = "embedding.word_embeddings.weight";
    const table = ropeTable(
      model.frequencies,
      ids_T.map((_, t) => t),
    );
    const layerAt = (layer: number, name: string, module: string) => ({
      op,
      layer,
      table,
      name,
      weight: (tensor: string) => weight(`${module}.${tensor}`),
      has: (tensor: string) => has(`${module}.${tensor}`),
    });
    let x_TD = op.gather(weight(embedding), ids_T);
    yield { name: "embed", value: x_TD };
    for (let l = 0; l < nLayers; l++) {
      const at = layerAt(l, `layers.${l}`, `decoder.layers.${l}`);
      x_TD = op.add(x_TD, attention(at, x_TD));
      yield { name: `layers.${l}.attn`, value: x_TD };
      x_TD = op.add(x_TD, mlp(at, x_TD));
      yield { name: `layers.${l}.ffn`, value: x_TD };
    }
    const y_TD = op.rmsNorm(x_TD, weight("decoder.final_layernorm.weight"), normEps);
    // MultiTokenPredictionLayer m: a layer over W [norm(embedding of the token m + 1 places on, of id 0 at the end) | norm(h)]
    let h_TD = y_TD;
    for (let m = 0; m < nFurther && has(`mtp.layers.${m}.eh_proj.weight`); m++) {
      const module = `mtp.layers.${m}`;
      const norm = (z_TD: typeof h_TD, name: string) => op.rmsNorm(z_TD, weight(`${module}.${name}.weight`), normEps);
      const rolled_TD = op.gather(
        weight(embedding),
        ids_T.map((_, t) => ids_T[t + m + 1] ?? 0),
      );
      const both = op.concat([norm(rolled_TD, "enorm"), norm(h_TD, "hnorm")], 1);
      const at = layerAt(nLayers + m, `mtp.${m}`, `${module}.transformer_layer`);
      const in_TD = op.linear(both, weight(`${module}.eh_proj.weight`));
      const attended_TD = op.add(in_TD, attention(at, in_TD));
      h_TD = norm(op.add(attended_TD, mlp(at, attended_TD)), "final_layernorm");
      yield { name: `mtp.${m}`, value: h_TD, keep: [y_TD], ahead: m + 1 };
    }
    yield { name: "norm", value: y_TD };
    return op.linear(y_TD, weight(tied ? embedding : "output_layer.weight"));
  };

export interface GqaOptions {
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  readonly normEps: number;
  /** `qk_layernorm` */
  readonly qkNorm: boolean;
  /** `add_qkv_bias`, and that of linear_proj: `add_bias_linear`. */
  readonly qkvBias: boolean;
  readonly projectionBias: boolean;
  readonly mask: (layer: number) => AttentionMask;
  /** `rotary_percent`: how many channels of a head are rotated, its first; all unless given. */
  readonly rotated?: number;
  /** `softmax_type="learnable"`; false unless given. */
  readonly sinks?: boolean;
}

/** SelfAttention with linear_qkv: for each key head its R query heads, the key head, the value head. */
export function gqa(options: GqaOptions): LayerBlock {
  const rotated = options.rotated ?? options.headDim;
  const { nHeads: N, nKvHeads: K, headDim: H, normEps, qkNorm, qkvBias, projectionBias, mask, sinks = false } = options;
  const R = N / K;
  return ({ op, layer, weight, table }, x_TD) => {
    const T = x_TD.shape[0]!;
    const bias = (name: string, present: boolean) => (present ? weight(name) : undefined);
    const a_TD = op.rmsNorm(x_TD, weight("self_attention.linear_qkv.layer_norm_weight"), normEps);
    const mixed = op.linear(
      a_TD,
      weight("self_attention.linear_qkv.weight"),
      bias("self_attention.linear_qkv.bias", qkvBias),
    );
    const mixed_TKGH = op.reshape(mixed, [T, K, R + 2, H]);
    const heads = (begin: number, end: number) =>
      op.reshape(op.slice(mixed_TKGH, 2, begin, end), [T, K * (end - begin), H]);
    const normed = (heads_THH: ReturnType<typeof heads>, name: string) =>
      qkNorm ? op.rmsNorm(heads_THH, weight(`self_attention.${name}_layernorm.weight`), normEps) : heads_THH;
    const turned = (heads_THH: ReturnType<typeof heads>) =>
      rotated === H
        ? op.rope(heads_THH, table, "half")
        : op.concat(
            [op.rope(op.slice(heads_THH, 2, 0, rotated), table, "half"), op.slice(heads_THH, 2, rotated, H)],
            2,
          );
    const q_TNH = turned(normed(heads(0, R), "q"));
    const k_TKH = turned(normed(heads(R, R + 1), "k"));
    const v_TKH = heads(R + 1, R + 2);
    const core_TNH = op.attention(q_TNH, k_TKH, v_TKH, {
      scale: H ** -0.5,
      mask: mask(layer),
      sinks_N: sinks ? weight("self_attention.core_attention.softmax_offset") : undefined,
    });
    const projection = weight("self_attention.linear_proj.weight");
    return op.linear(
      op.reshape(core_TNH, [T, N * H]),
      projection,
      bias("self_attention.linear_proj.bias", projectionBias),
    );
  };
}

/** MLP with `gated_linear_unit`: fc2(silu(gate) ⊙ up), gate and up the halves of what linear_fc1 gives. */
export function gatedMlp({ normEps, bias }: { readonly normEps: number; readonly bias: boolean }): LayerBlock {
  return ({ op, weight, has }, x_TD) => {
    const m_TD = op.rmsNorm(x_TD, weight("mlp.linear_fc1.layer_norm_weight"), normEps);
    const fc1 = (part: string) =>
      op.linear(m_TD, weight(`mlp.linear_fc1.weight${part}`), bias ? weight(`mlp.linear_fc1.bias${part}`) : undefined);
    // `singleton_local_shards` saves the halves apart.
    const isApart = has("mlp.linear_fc1.weight_w");
    const halves = isApart ? null : fc1("");
    const F = halves === null ? 0 : halves.shape[1]! / 2;
    const gate = halves === null ? fc1("_w") : op.slice(halves, 1, 0, F);
    const up = halves === null ? fc1("_v") : op.slice(halves, 1, F, 2 * F);
    const fc2 = weight("mlp.linear_fc2.weight");
    return op.linear(op.mul(op.map("silu", gate), up), fc2, bias ? weight("mlp.linear_fc2.bias") : undefined);
  };
}

/** `_apply_scaling` has these as constants; only the factor is an argument (`rope_scaling_factor`). */
const SCALING = { lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositions: 8192 } as const;

/**
 * RotaryEmbedding and YarnRotaryEmbedding. Their formulas are those of transformers, in the same order of operations.
 * Throws InputError NO_GRAPH for what it has no argument for.
 */
export function megatronFrequencies(rope: RopeSpec): RopeFrequencies {
  switch (rope.kind) {
    case "default":
      return transformersFrequencies(rope);
    case "llama3": {
      const other = Object.entries(SCALING).find(([name, value]) => rope[name as keyof typeof SCALING] !== value);
      if (other === undefined) return transformersFrequencies(rope);
      throw noRope(`llama3 scaling with ${other[0]} other than ${other[1]}, which is fixed in its source`);
    }
    case "yarn":
      if (rope.attentionFactor === undefined) return transformersFrequencies(rope);
      throw noRope("an attention_factor of its own");
    case "linear":
      throw noRope("linear scaling");
    default:
      throw rope satisfies never;
  }
}

const noRope = (what: string): InputError =>
  new InputError("NO_GRAPH", `rope_parameters: Megatron-Core's GPTModel has no argument for ${what}`, {
    expected: "plain RoPE, YaRN, or Llama 3.1's scaling with its usual constants",
    found: what,
    help: "convert it to hf and compare that: `diff` shows that both hold the same weights",
  });

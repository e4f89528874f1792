// The GPTModel of Qwen3-Next and Qwen3.5 as Megatron-Core runs it. Suffixes name axes as in numerics/graph.ts; of a delta net J
// key heads and W value heads, with K and V channels each. Only native-megatron.ts of these families may import it.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/ssm/gated_delta_net.py
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/transformer/attention.py
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/transformer/moe/{router,moe_utils,shared_experts}.py
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/transformer/multi_token_prediction.py
import type { Node, Ops, RopeTable, Router, Tap, Weights } from "../../../numerics/graph.ts";
import type { DeltaNet } from "./config.ts";

export interface GatedDeltaModel {
  readonly nLayers: number;
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  readonly normEps: number;
  /** `share_embeddings_and_output_weights` */
  readonly tied: boolean;
  readonly fullLayers: readonly number[];
  readonly delta: DeltaNet;
  /** Of layer l; null where it has one feed-forward in place of experts. */
  readonly router: (layer: number) => Router | null;
}

/** What a model is run on. Weights have GPTModel's own keys. */
interface Run<X extends Node> {
  readonly op: Ops<X>;
  readonly weight: Weights<X>;
  readonly has: (key: string) => boolean;
  readonly ids_T: readonly number[];
  readonly table: RopeTable;
  /** What the decoder gets in place of the embedding of the ids. */
  readonly decoderInput_TD?: X | undefined;
}

/** GPTModel: taps, and then logits. */
export function* gatedDeltaGpt<X extends Node>(model: GatedDeltaModel, run: Run<X>): Generator<Tap<X>, X, void> {
  const { op, weight, has, ids_T } = run;
  const { attention, deltaNet, mlp, norm } = transformerLayer(model, run);
  const embedded = (ids: readonly number[]) => op.gather(weight("embedding.word_embeddings.weight"), ids);
  let x_TD = run.decoderInput_TD ?? embedded(ids_T);
  yield { name: "embed", value: x_TD };

  for (let l = 0; l < model.nLayers; l++) {
    const [layer, name] = [`decoder.layers.${l}`, `layers.${l}`];
    const mixer = model.fullLayers.includes(l) ? attention : deltaNet;
    x_TD = op.add(x_TD, mixer(x_TD, `${layer}.self_attention`));
    yield { name: `${name}.attn`, value: x_TD };
    x_TD = op.add(x_TD, mlp(x_TD, layer, l, name));
    yield { name: `${name}.ffn`, value: x_TD };
  }
  const y_TD = norm(x_TD, "decoder.final_layernorm.weight");
  if (has("mtp.layers.0.eh_proj.weight")) {
    // MultiTokenPredictionLayer: rolled ids end in a 0; h ← eh_proj [norm(embedding) | norm(y)], then a layer
    const ahead_TD = embedded([...ids_T.slice(1), 0]);
    const both = [norm(ahead_TD, "mtp.layers.0.enorm.weight"), norm(y_TD, "mtp.layers.0.hnorm.weight")];
    const layer = "mtp.layers.0.transformer_layer";
    let h_TD = op.linear(op.concat(both, 1), weight("mtp.layers.0.eh_proj.weight"));
    h_TD = op.add(h_TD, attention(h_TD, `${layer}.self_attention`));
    h_TD = op.add(h_TD, mlp(h_TD, layer, model.nLayers, "mtp.0"));
    yield { name: "mtp.0", value: norm(h_TD, "mtp.layers.0.final_layernorm.weight"), keep: [y_TD] };
  }
  yield { name: "norm", value: y_TD };
  return op.linear(y_TD, weight(model.tied ? "embedding.word_embeddings.weight" : "output_layer.weight"));
}

/** TransformerLayer: what each half adds to the residual stream. */
function transformerLayer<X extends Node>(model: GatedDeltaModel, { op, weight, has, table }: Run<X>) {
  const { nKvHeads, headDim: H, normEps, delta } = model;
  const R = model.nHeads / nKvHeads;

  /** layernorm_zero_centered_gamma: (1 + weight) · x / rms(x). */
  const norm = (x: X, key: string) => op.rmsNorm(x, op.affine(weight(key), 1, 1), normEps);

  /** linear_qkv has, for each key head, its R queries, their R gates, the key and the value. */
  function attention(x_TD: X, module: string): X {
    const T = x_TD.shape[0]!;
    const h_TD = norm(x_TD, `${module}.linear_qkv.layer_norm_weight`);
    const mixed = op.reshape(op.linear(h_TD, weight(`${module}.linear_qkv.weight`)), [T, nKvHeads, (2 * R + 2) * H]);
    const part = (begin: number, heads: number) =>
      op.reshape(op.slice(mixed, 2, begin * H, (begin + heads) * H), [T, nKvHeads * heads, H]);
    const q_TNH = norm(part(0, R), `${module}.q_layernorm.weight`);
    const k_TKH = norm(part(2 * R, 1), `${module}.k_layernorm.weight`);
    const out_TNH = op.attention(op.rope(q_TNH, table, "half"), op.rope(k_TKH, table, "half"), part(2 * R + 1, 1), {
      scale: H ** -0.5,
      mask: { kind: "causal" },
    });
    const gated_TNH = op.mul(out_TNH, op.map("sigmoid", part(R, R)));
    return op.linear(op.reshape(gated_TNH, [T, model.nHeads * H]), weight(`${module}.linear_proj.weight`));
  }

  /** fla's l2norm: x / √(Σ x² + 1e-6), the sum over a head's K channels. */
  const l2norm = (x_TJK: X) => op.affine(op.rmsNorm(x_TJK, null, 1e-6 / delta.keyHeadDim), delta.keyHeadDim ** -0.5);

  /** GatedDeltaNet: out_proj ((1 + weight) · norm(o) ⊙ silu(z)), o by the gated delta rule over convolved q, k and v. */
  function deltaNet(x_TD: X, module: string): X {
    const { nKeyHeads: J, nValueHeads: W, keyHeadDim: K, valueHeadDim: V, kernel } = delta;
    const T = x_TD.shape[0]!;
    const h_TD = norm(x_TD, `${module}.in_proj.layer_norm_weight`);
    const project = (name: string) => op.linear(h_TD, weight(`${module}.in_proj.weight.${name}`));
    const convolved = (name: string, heads: number, channels: number) => {
      const filters = op.reshape(weight(`${module}.conv1d.weight.${name}`), [heads * channels, kernel]);
      return op.reshape(op.map("silu", op.causalConv(project(name), filters)), [T, heads, channels]);
    };
    const q_TJK = op.affine(l2norm(convolved("query", J, K)), K ** -0.5);
    const k_TJK = l2norm(convolved("key", J, K));
    // g = −exp(A_log) · softplus(alpha + dt_bias)
    const step_TW = op.map("softplus", op.add(project("alpha"), weight(`${module}.dt_bias`)));
    const g_TW = op.affine(op.mul(step_TW, op.map("exp", weight(`${module}.A_log`))), -1);
    const o_TWV = op.deltaRule(q_TJK, k_TJK, convolved("value", W, V), g_TW, op.map("sigmoid", project("beta")));
    const z_TWV = op.reshape(project("z"), [T, W, V]);
    const y_TWV = op.mul(norm(o_TWV, `${module}.out_norm.weight`), op.map("silu", z_TWV));
    return op.linear(op.reshape(y_TWV, [T, W * V]), weight(`${module}.out_proj.weight`));
  }

  /** What linear_fc1 has: gate rows, then up rows; `singleton_local_shards` saves the halves apart. */
  function gateUp(module: string, pick: (stored: X) => X = (stored) => stored): readonly [X, X] {
    if (has(`${module}.linear_fc1.weight_w`))
      return [weight(`${module}.linear_fc1.weight_w`), weight(`${module}.linear_fc1.weight_v`)];
    const both = pick(weight(`${module}.linear_fc1.weight`));
    const F = both.shape[0]! / 2;
    return [op.slice(both, 0, 0, F), op.slice(both, 0, F, 2 * F)];
  }

  /** linear_fc2 (silu(gate) ⊙ up) */
  const glu = (x_TD: X, [gate, up]: readonly [X, X], fc2: X) =>
    op.linear(op.mul(op.map("silu", op.linear(x_TD, gate)), op.linear(x_TD, up)), fc2);

  const dense = (h_TD: X, module: string) => glu(h_TD, gateUp(module), weight(`${module}.linear_fc2.weight`));

  function experts(h_TD: X, module: string, router: Router, name: string): X {
    const stacks = `${module}.experts.experts`;
    const isApart = has(`${stacks}.0.linear_fc1.weight_w`);
    const row = (e: number) => (stack: X) => op.reshape(op.slice(stack, 0, e, e + 1), stack.shape.slice(1));
    const logits_TE = op.linear(h_TD, weight(`${module}.router.weight`));
    const routed_TD = op.mixture(h_TD, { name, logits_TE, router, weighs: "output" }, (x_nD, e) =>
      isApart
        ? dense(x_nD, `${stacks}.${e}`)
        : glu(x_nD, gateUp(stacks, row(e)), row(e)(weight(`${stacks}.linear_fc2.weight`))),
    );
    const gate_T1 = op.map("sigmoid", op.linear(h_TD, weight(`${module}.shared_experts.gate_weight`)));
    return op.add(routed_TD, op.mul(dense(h_TD, `${module}.shared_experts`), gate_T1));
  }

  function mlp(x_TD: X, layer: string, l: number, name: string): X {
    const [router, module] = [model.router(l), `${layer}.mlp`];
    if (router === null) return dense(norm(x_TD, `${module}.linear_fc1.layer_norm_weight`), module);
    return experts(norm(x_TD, `${layer}.pre_mlp_layernorm.weight`), module, router, name);
  }

  return { attention, deltaNet, mlp, norm };
}

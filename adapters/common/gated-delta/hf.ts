// Parts of a layer that Qwen3-Next and Qwen3.5 share in transformers, whose Qwen3.5 is a subclass of Qwen3-Next. Only hf.ts
// of these families may import it. Suffixes name axes as in numerics/graph.ts.
//   huggingface/transformers@v5.23.0:src/transformers/models/qwen3_next/modeling_qwen3_next.py
import type { Node, Ops, RopeTable, Router, Weights } from "../../../numerics/graph.ts";
import { softmax } from "../../../numerics/routing.ts";
import type { DeltaNet } from "./config.ts";

interface Config {
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  readonly normEps: number;
  readonly delta: DeltaNet;
}

/** What a delta net makes of its input: C channels of q, k and v side by side, W value heads of V channels. */
interface Projected<X> {
  readonly qkv_TC: X;
  readonly z_TWV: X;
  readonly b_TW: X;
  readonly a_TW: X;
}

/** RMSNorm times 1 + weight. */
export const zeroCentredNorm = <X extends Node>(op: Ops<X>, x: X, weight: X, eps: number): X =>
  op.rmsNorm(x, op.affine(weight, 1, 1), eps);

/** Softmax over all experts; the weights of the chosen ones are normalised to sum to 1, where the config says so. */
export const routerOf = (topK: number, normalised = true): Router => ({
  k: topK,
  select: (logits_E) => softmax(logits_E),
  weigh: (logits_E, experts) => {
    const probabilities = softmax(logits_E);
    const chosen = experts.map((e) => probabilities[e]!);
    const total = normalised ? chosen.reduce((sum, p) => sum + p, 0) : 1;
    return chosen.map((p) => p / total);
  },
});

/** Each reads what a norm made of the residual stream, and returns what is added to it. */
export function hfGatedDelta<X extends Node>(op: Ops<X>, weight: Weights<X>, config: Config, cosSin: RopeTable) {
  const { nHeads, nKvHeads, headDim, normEps, delta } = config;
  const linear = (x_TI: X, module: string) => op.linear(x_TI, weight(`${module}.weight`));
  const norm = (x: X, module: string) => zeroCentredNorm(op, x, weight(`${module}.weight`), normEps);

  /** o_proj(softmax(rope(norm q) · rope(norm k)ᵀ · headDim^-½) · v · sigmoid(gate)). */
  function selfAttention(normed_TD: X, module: string): X {
    const tokens = normed_TD.shape[0]!;
    const kv = (name: string) => op.reshape(linear(normed_TD, `${module}.${name}`), [tokens, nKvHeads, headDim]);
    // Each head's query and gate lie together.
    const both = op.reshape(linear(normed_TD, `${module}.q_proj`), [tokens, nHeads, 2, headDim]);
    const part = (i: number) => op.reshape(op.slice(both, 2, i, i + 1), [tokens, nHeads, headDim]);
    const q_TNH = op.rope(norm(part(0), `${module}.q_norm`), cosSin, "half");
    const k_TKH = op.rope(norm(kv("k_proj"), `${module}.k_norm`), cosSin, "half");
    const mixed_TNH = op.attention(q_TNH, k_TKH, kv("v_proj"), { scale: headDim ** -0.5, mask: { kind: "causal" } });
    const gate_TI = op.reshape(part(1), [tokens, nHeads * headDim]);
    const mixed_TI = op.reshape(mixed_TNH, [tokens, nHeads * headDim]);
    return linear(op.mul(mixed_TI, op.map("sigmoid", gate_TI)), `${module}.o_proj`);
  }

  /** l2norm adds eps 1e-6 to the sum of squares; rmsNorm adds it to their mean. */
  const l2norm = (x_TJK: X) => op.affine(op.rmsNorm(x_TJK, null, 1e-6 / delta.keyHeadDim), delta.keyHeadDim ** -0.5);

  /** out_proj(norm(delta rule) · weight · silu(z)), over q, k and v after one convolution. */
  function linearAttention({ qkv_TC, z_TWV, b_TW, a_TW }: Projected<X>, module: string): X {
    const tokens = qkv_TC.shape[0]!;
    const { nKeyHeads, nValueHeads, keyHeadDim, valueHeadDim, kernel } = delta;
    const [keyDim, valueDim] = [nKeyHeads * keyHeadDim, nValueHeads * valueHeadDim];
    const filters = op.reshape(weight(`${module}.conv1d.weight`), [2 * keyDim + valueDim, kernel]);
    const mixed_TC = op.map("silu", op.causalConv(qkv_TC, filters));
    const split = (begin: number, heads: number, channels: number) =>
      op.reshape(op.slice(mixed_TC, 1, begin, begin + heads * channels), [tokens, heads, channels]);
    const query = op.affine(l2norm(split(0, nKeyHeads, keyHeadDim)), keyHeadDim ** -0.5);
    const key = l2norm(split(keyDim, nKeyHeads, keyHeadDim));
    const value = split(2 * keyDim, nValueHeads, valueHeadDim);

    const step_TN = op.map("softplus", op.add(a_TW, weight(`${module}.dt_bias`)));
    const minusA_N = op.affine(op.map("exp", weight(`${module}.A_log`)), -1);
    const core_TWV = op.deltaRule(query, key, value, op.mul(step_TN, minusA_N), op.map("sigmoid", b_TW));
    const gated_TWV = op.mul(op.rmsNorm(core_TWV, weight(`${module}.norm.weight`), normEps), op.map("silu", z_TWV));
    return linear(op.reshape(gated_TWV, [tokens, valueDim]), `${module}.out_proj`);
  }

  /** down_proj(silu(gate_proj x) · up_proj x). */
  const gatedMlp = (x_TD: X, module: string) =>
    linear(
      op.mul(op.map("silu", linear(x_TD, `${module}.gate_proj`)), linear(x_TD, `${module}.up_proj`)),
      `${module}.down_proj`,
    );

  /** The expert that every token goes to, behind a gate. */
  const sharedExpert = (x_TD: X, module: string) =>
    op.mul(gatedMlp(x_TD, `${module}.shared_expert`), op.map("sigmoid", linear(x_TD, `${module}.shared_expert_gate`)));

  return { linear, norm, selfAttention, linearAttention, gatedMlp, sharedExpert };
}

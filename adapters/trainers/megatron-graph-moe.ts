// Experts and latent attention of Megatron-Core's GPTModel. Suffixes name axes as in numerics/graph.ts; F the ffn of an expert,
// P rotated channels of a head, Z the key/value latent.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/transformer/moe/{moe_layer,moe_utils,experts,shared_experts}.py
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/transformer/{mlp,multi_latent_attention}.py
import type { Node, Router } from "../../numerics/graph.ts";
import { sigmoid, softmax, topK } from "../../numerics/routing.ts";
import type { InLayer, LayerBlock } from "./megatron-graph.ts";

/**
 * `topk_routing_with_score_function` with "softmax": over all experts (`moe_router_pre_softmax`), or over the chosen ones.
 * The load-balancing bias has no part in it.
 */
export const softmaxRouter = (k: number, isOverAll: boolean): Router => ({
  k,
  select: (logits_E) => (isOverAll ? softmax(logits_E) : logits_E),
  weigh(logits_E, experts) {
    if (!isOverAll) return [...softmax(experts.map((e) => logits_E[e]!))];
    const probabilities = softmax(logits_E);
    return experts.map((e) => probabilities[e]!);
  },
});

export interface SigmoidOptions {
  readonly k: number;
  readonly nExperts: number;
  /** `moe_router_num_groups` and `moe_router_group_topk` */
  readonly nGroups: number;
  readonly groupsPerToken: number;
  /** How many of its best experts make the score of a group: upstream takes k / groupsPerToken. */
  readonly perGroup: number;
  /** Whether weights are divided by their sum: upstream does where k > 1. */
  readonly isNormalised: boolean;
  /** `moe_router_topk_scaling_factor` */
  readonly scale: number;
}

/** The same with "sigmoid"; the bias guides the choice alone. */
export const sigmoidRouter = (options: SigmoidOptions): Router => ({
  k: options.k,
  select(logits_E, bias_E) {
    const scores_E = logits_E.map((logit, e) => sigmoid(logit) + (bias_E?.[e] ?? 0));
    const size = options.nExperts / options.nGroups;
    const groupScores = Array.from({ length: options.nGroups }, (_, g) => {
      const group = scores_E.subarray(g * size, (g + 1) * size);
      return topK(group, options.perGroup).reduce((sum, e) => sum + group[e]!, 0);
    });
    const kept = new Set(topK(groupScores, options.groupsPerToken));
    return scores_E.map((score, e) => (kept.has(Math.floor(e / size)) ? score : Number.NEGATIVE_INFINITY));
  },
  weigh(logits_E, experts) {
    const scores = experts.map((e) => sigmoid(logits_E[e]!));
    const sum = options.isNormalised ? scores.reduce((total, score) => total + score, 0) + 1e-20 : 1;
    return scores.map((score) => (score / sum) * options.scale);
  },
});

/** What linear_fc1 gives, [n, F] each, to what linear_fc2 gets. */
export type Gated = <N extends Node>(op: InLayer<N>["op"], gate_nF: N, up_nF: N) => N;

export const swiglu: Gated = (op, gate_nF, up_nF) => op.mul(op.map("silu", gate_nF), up_nF);

/**
 * `quick_gelu` with `glu_linear_offset` 1: gate·sigmoid(1.702·gate)·(up + 1), gate at most and up at most ± the limit
 * (`activation_func_clamp_value`).
 */
export const quickGeglu =
  (limit: number, alpha = 1.702): Gated =>
  (op, gate_nF, up_nF) => {
    const gate = op.clamp(gate_nF, Number.NEGATIVE_INFINITY, limit);
    const up = op.affine(op.clamp(up_nF, -limit, limit), 1, 1);
    return op.mul(op.mul(gate, op.map("sigmoid", op.affine(gate, alpha))), up);
  };

export interface ExpertsOptions {
  readonly normEps: number;
  readonly router: Router;
  readonly activation: Gated;
  /** `moe_router_enable_expert_bias` */
  readonly expertBias: boolean;
  /** `add_bias_linear`: biases of router and experts. */
  readonly bias: boolean;
  /** `moe_shared_expert_intermediate_size` is given. */
  readonly shared: boolean;
}

/** MoELayer, and the norm before it. */
export function mixtureOfExperts(options: ExpertsOptions): LayerBlock {
  const { normEps, router, activation, expertBias, bias, shared } = options;
  return (at, x_TD) => {
    const { op, weight, name } = at;
    const m_TD = op.rmsNorm(x_TD, weight("pre_mlp_layernorm.weight"), normEps);
    const routerBias = bias ? weight("mlp.router.bias") : undefined;
    const routing = {
      name,
      logits_TE: op.linear(m_TD, weight("mlp.router.weight"), routerBias),
      bias_E: expertBias ? weight("mlp.router.expert_bias") : undefined,
      router,
      weighs: "output",
    } as const;
    const of = expertsAt(at, bias);
    const routed_TD = op.mixture(m_TD, routing, (x_nD, e) => {
      const { fc1, fc2 } = of(e);
      const [gate, up] = fc1.map((part) => op.linear(x_nD, part.weight, part.bias));
      return op.linear(activation(op, gate!, up!), fc2.weight, fc2.bias);
    });
    return shared ? op.add(routed_TD, sharedMlp(at, m_TD, activation)) : routed_TD;
  };
}

interface Linear<N> {
  readonly weight: N;
  readonly bias: N | undefined;
}

/** Weights of expert e: gate and up of linear_fc1, and linear_fc2. */
function expertsAt<N extends Node>({ op, weight, has }: InLayer<N>, hasBias: boolean) {
  const own = "mlp.experts.experts";
  const linear = (make: (kind: "weight" | "bias") => N): Linear<N> => ({
    weight: make("weight"),
    bias: hasBias ? make("bias") : undefined,
  });
  if (has(`${own}.0.linear_fc1.weight_w`)) {
    return (e: number) => ({
      fc1: ["w", "v"].map((part) => linear((kind) => weight(`${own}.${e}.linear_fc1.${kind}_${part}`))),
      fc2: linear((kind) => weight(`${own}.${e}.linear_fc2.${kind}`)),
    });
  }
  const [fc1, fc2] = ["linear_fc1", "linear_fc2"].map((name) => linear((kind) => weight(`${own}.${name}.${kind}`)));
  const row = (stack: N, e: number) => op.reshape(op.slice(stack, 0, e, e + 1), stack.shape.slice(1));
  const half = (stack: N, e: number, part: number) => {
    const both = row(stack, e);
    const F = both.shape[0]! / 2;
    return op.slice(both, 0, part * F, (part + 1) * F);
  };
  const of = ({ weight: w, bias: b }: Linear<N>, pick: (stack: N) => N): Linear<N> => ({
    weight: pick(w),
    bias: b && pick(b),
  });
  return (e: number) => ({
    fc1: [0, 1].map((part) => of(fc1!, (stack) => half(stack, e, part))),
    fc2: of(fc2!, (stack) => row(stack, e)),
  });
}

/** SharedExpertMLP, without a gate of its own. */
function sharedMlp<N extends Node>({ op, weight, has }: InLayer<N>, m_TD: N, activation: Gated): N {
  const own = "mlp.shared_experts";
  const fc1 = (part: string) => op.linear(m_TD, weight(`${own}.linear_fc1.weight${part}`));
  const halves = has(`${own}.linear_fc1.weight_w`) ? null : fc1("");
  const F = halves === null ? 0 : halves.shape[1]! / 2;
  const gate = halves === null ? fc1("_w") : op.slice(halves, 1, 0, F);
  const up = halves === null ? fc1("_v") : op.slice(halves, 1, F, 2 * F);
  return op.linear(activation(op, gate, up), weight(`${own}.linear_fc2.weight`));
}

export interface LatentOptions {
  readonly nHeads: number;
  readonly hasQueryLatent: boolean;
  readonly kvLoraRank: number;
  readonly nopeDim: number;
  readonly ropeDim: number;
  readonly valueDim: number;
  readonly normEps: number;
  /** Of the latents' norms. */
  readonly latentEps: number;
  /** Of the softmax. */
  readonly scale: number;
}

/** MLASelfAttention, and the norm before it. */
export function latentAttention(options: LatentOptions): LayerBlock {
  const { nHeads: N, kvLoraRank: Z, nopeDim, ropeDim: P, valueDim, normEps, latentEps, scale } = options;
  return ({ op, weight, table }, x_TD) => {
    const T = x_TD.shape[0]!;
    type X = typeof x_TD;
    const own = (name: string) => weight(`self_attention.${name}.weight`);
    const norm = (x: X, name: string) => op.rmsNorm(x, weight(`self_attention.${name}.layer_norm_weight`), latentEps);
    // Channels 0, 2, 4, … then 1, 3, 5, …; halves are rotated.
    const rotated = (x_TNP: X, heads: number) => {
      const pairs = op.reshape(x_TNP, [T, heads, P / 2, 2]);
      return op.rope(op.reshape(op.permute(pairs, [0, 1, 3, 2]), [T, heads, P]), table, "half");
    };
    const a_TD = op.rmsNorm(x_TD, weight("input_layernorm.weight"), normEps);
    const q_TI = options.hasQueryLatent
      ? op.linear(norm(op.linear(a_TD, own("linear_q_down_proj")), "linear_q_up_proj"), own("linear_q_up_proj"))
      : op.linear(a_TD, own("linear_q_proj"));
    const q_TNI = op.reshape(q_TI, [T, N, nopeDim + P]);
    const down = op.linear(a_TD, own("linear_kv_down_proj"));
    const latent_TZ = norm(op.slice(down, 1, 0, Z), "linear_kv_up_proj");
    const kv_TNI = op.reshape(op.linear(latent_TZ, own("linear_kv_up_proj")), [T, N, nopeDim + valueDim]);
    const kPos_T1P = rotated(op.reshape(op.slice(down, 1, Z, Z + P), [T, 1, P]), 1);
    // One rotated key, expanded to all heads.
    const kPos_TNP = op.concat(Array<X>(N).fill(kPos_T1P), 1);
    const core = op.attention(
      op.concat([op.slice(q_TNI, 2, 0, nopeDim), rotated(op.slice(q_TNI, 2, nopeDim, nopeDim + P), N)], 2),
      op.concat([op.slice(kv_TNI, 2, 0, nopeDim), kPos_TNP], 2),
      op.slice(kv_TNI, 2, nopeDim, nopeDim + valueDim),
      { scale, mask: { kind: "causal" } },
    );
    return op.linear(op.reshape(core, [T, N * valueDim]), own("linear_proj"));
  };
}

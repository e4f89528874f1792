// Qwen3.5, dense and with experts, as torchtitan runs it. Suffixes name axes as in numerics/graph.ts; of a delta net J key
// heads and W value heads; M merged patches of all images.
//   pytorch/torchtitan@v0.3.0:torchtitan/models/qwen3_5/{__init__,model,rope}.py
//   pytorch/torchtitan@v0.3.0:torchtitan/models/common/{feed_forward,moe,multimodal,rope}.py
//   pytorch/torchtitan@v0.3.0:torchtitan/hf_datasets/multimodal/mm_collator.py
import type {
  Forward,
  ImageInput,
  KnownDifference,
  Node,
  Ops,
  RopeTable,
  Router,
  Weights,
} from "../../numerics/graph.ts";
import {
  type RopeFrequencies,
  ropeTable,
  torchtitanFrequencies,
  transformersFrequencies,
} from "../../numerics/rope.ts";
import { softmax } from "../../numerics/routing.ts";
import type { Qwen35Config } from "./config.ts";
import { type MergerGelu, visionEncoder } from "./native-vision.ts";

const MODELS = "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/models";

/** Settings in which torchtitan and transformers differ. */
interface Upstream {
  readonly normEps: number;
  readonly frequencies: RopeFrequencies;
  readonly mergerGelu: MergerGelu;
}

/** How a revision spells its keys. */
interface Spelling {
  readonly expert: (name: string, axes: string) => string;
  readonly expertBias: string;
}

export const nativeForward = (config: Qwen35Config, spelling: Spelling): Forward =>
  forwardWith(config, spelling, torchtitan(config));

/** `_EPS`, of every norm of the text. */
const torchtitan = (config: Qwen35Config): Upstream => ({
  normEps: 1e-6,
  frequencies: torchtitanFrequencies(config.rope, "CosSinRoPE"),
  mergerGelu: "geluTanh",
});

/** Where this forward pass is known to differ from transformers'. */
export function nativeDifferences(config: Qwen35Config, spelling: Spelling): readonly KnownDifference[] {
  const differences: KnownDifference[] = [];
  let upstream = torchtitan(config);
  const add = (change: Partial<Upstream>, difference: Omit<KnownDifference, "undone">) => {
    upstream = { ...upstream, ...change };
    differences.push({ ...difference, undone: forwardWith(config, spelling, upstream) });
  };
  if (config.normEps !== upstream.normEps) {
    add(
      { normEps: config.normEps },
      {
        code: "NORM_EPS",
        explanation: `torchtitan's Qwen3.5 has norms of eps ${upstream.normEps}; rms_norm_eps is ${config.normEps}`,
        source: `${MODELS}/qwen3_5/__init__.py#L82`,
        fix: "set rms_norm_eps to 1e-6 if the model was trained with torchtitan",
      },
    );
  }
  const { attentionFactor } = transformersFrequencies(config.rope);
  if (attentionFactor !== 1) {
    add(
      { frequencies: { ...upstream.frequencies, attentionFactor } },
      {
        code: "YARN_ATTENTION_FACTOR",
        explanation: `torchtitan's Qwen3.5 leaves out YaRN's attention factor, by which transformers scales cos and sin: ${attentionFactor}`,
        source: `${MODELS}/common/rope.py#L273-L308`,
        fix: 'set "attention_factor": 1 in rope_parameters if the model was trained with torchtitan',
      },
    );
  }
  if (config.vision !== null) {
    add(
      { mergerGelu: "gelu" },
      {
        code: "VISION_MERGER_GELU",
        explanation:
          "the tower's patch merger has the tanh approximation of GELU in torchtitan and the exact one in transformers",
        source: `${MODELS}/qwen3_5/vision_encoder.py#L272-L274`,
        fix: 'train with PatchMerger.Config(act_fn=GELU.Config(approximate="none")), or accept the difference: 7e-9 to 3e-7 nats/token in tiny models',
      },
    );
  }
  return differences;
}

function forwardWith(config: Qwen35Config, spelling: Spelling, upstream: Upstream): Forward {
  const { vision, tokens, nLayers } = config;
  const { normEps, frequencies } = upstream;

  return function* (op, weight, { ids_T, images, positions_T3 }) {
    const grids = images?.grids ?? [];
    const positions =
      positions_T3 ?? mropePositions(ids_T, grids, tokens?.image ?? null, vision === null ? 1 : vision.mergeSize);
    const table = mropeTable(frequencies, positions, config.mropeSection);
    const block = transformerBlock(op, weight, config, spelling, normEps, table);

    const embed = () => op.gather(weight("tok_embeddings.weight"), ids_T);
    let x_TD: ReturnType<typeof embed>;
    if (vision === null || tokens === null || images === undefined) x_TD = embed();
    else {
      const vision_MD = yield* visionEncoder(op, weight, vision, images, upstream.mergerGelu);
      x_TD = scatterVisionEmbeds(op, embed(), vision_MD, ids_T, tokens.image);
    }
    yield { name: "embed", value: x_TD };

    for (let l = 0; l < nLayers; l++) {
      x_TD = config.fullLayers.includes(l) ? block.attention(x_TD, l) : block.deltaNet(x_TD, l);
      yield { name: `layers.${l}.attn`, value: x_TD };
      x_TD = block.feedForward(x_TD, l);
      yield { name: `layers.${l}.ffn`, value: x_TD };
    }
    const y_TD = offsetNorm(op, x_TD, weight("norm.weight"), normEps);
    yield { name: "norm", value: y_TD };
    // A tied head and the embedding are one parameter.
    return op.linear(y_TD, weight(config.tied ? "tok_embeddings.weight" : "lm_head.weight"));
  };
}

/** Placeholders' rows of x_TD replaced by the features, run by run. */
function scatterVisionEmbeds<X extends Node>(
  op: Ops<X>,
  x_TD: X,
  vision_MD: X,
  ids_T: readonly number[],
  imageToken: number,
): X {
  const from_T = [...ids_T.keys()];
  const places = from_T.filter((t) => ids_T[t] === imageToken);
  for (const [m, t] of places.entries()) from_T[t] = ids_T.length + m;
  return op.gather(op.concat([x_TD, vision_MD], 0), from_T);
}

type Positions = readonly (readonly [number, number, number])[];

/** `_build_mrope_positions`: each run of text, and each grid, begins one position after the largest one before it. */
function mropePositions(
  ids_T: readonly number[],
  grids: ImageInput["grids"],
  imageToken: number | null,
  mergeSize: number,
): Positions {
  const positions: (readonly [number, number, number])[] = [];
  let [image, start] = [0, 0];
  while (positions.length < ids_T.length) {
    const grid = ids_T[positions.length] === imageToken ? grids[image] : undefined;
    if (grid === undefined) {
      positions.push([start, start, start]);
      start += 1;
      continue;
    }
    const [frames, rows, columns] = [grid[0], grid[1] / mergeSize, grid[2] / mergeSize];
    for (let i = 0; i < frames * rows * columns; i++) {
      const [frame, place] = [Math.floor(i / (rows * columns)), i % (rows * columns)];
      positions.push([start + frame, start + Math.floor(place / columns), start + (place % columns)]);
    }
    start += Math.max(frames, rows, columns);
    image += 1;
  }
  return positions;
}

/** MRoPE `_compute_mrope_cache`: columns 1, 4, … of the cache are those of heights, 2, 5, … those of widths. */
function mropeTable(frequencies: RopeFrequencies, positions: Positions, section: readonly number[]): RopeTable {
  const [t, h, w] = [0, 1, 2].map((axis) =>
    ropeTable(
      frequencies,
      positions.map((position) => position[axis]!),
    ),
  );
  const pairs = frequencies.invFreq.length;
  const columns = Array.from({ length: pairs }, (_, column) => {
    const own = [t!, h!, w!][column % 3]!;
    return column < section[column % 3]! * 3 ? own : t!;
  });
  const pick = (part: "cos" | "sin") => t![part].map((_, i) => columns[i % pairs]![part][i]!);
  return { tokens: positions.length, pairs, cos: pick("cos"), sin: pick("sin") };
}

/** OffsetRMSNorm: (1 + weight) · norm(x). */
const offsetNorm = <X extends Node>(op: Ops<X>, x: X, weight: X, eps: number): X =>
  op.rmsNorm(x, op.affine(weight, 1, 1), eps);

/** TokenChoiceTopKRouter: softmax scores, `route_norm`; the bias guides the choice alone. */
const routerOf = (topK: number): Router => ({
  k: topK,
  select: (logits_E, bias_E) => softmax(logits_E).map((score, e) => score + bias_E![e]!),
  weigh: (logits_E, experts) => {
    const scores_E = softmax(logits_E);
    const denominator = experts.reduce((sum, e) => sum + scores_E[e]!, 0) + 1e-20;
    return experts.map((e) => scores_E[e]! / denominator);
  },
});

/** Qwen35TransformerBlock. */
function transformerBlock<X extends Node>(
  op: Ops<X>,
  weight: Weights<X>,
  config: Qwen35Config,
  spelling: Spelling,
  normEps: number,
  table: RopeTable,
) {
  const { nHeads: N, nKvHeads: K, headDim: H, moe } = config;
  const { nKeyHeads: J, nValueHeads: W, keyHeadDim, valueHeadDim } = config.delta;
  const project = (x_TI: X, module: string) => op.linear(x_TI, weight(`${module}.weight`));
  const norm = (x: X, module: string) => offsetNorm(op, x, weight(`${module}.weight`), normEps);

  /** Qwen35Attention: x + Wo (sigmoid(gate) ⊙ softmax(q kᵀ / √H) v). */
  function attention(x_TD: X, l: number): X {
    const T = x_TD.shape[0]!;
    const module = `layers.${l}.attn`;
    const h_TD = norm(x_TD, `layers.${l}.attention_norm`);
    const qGate_TN2H = op.reshape(project(h_TD, `${module}.wq`), [T, N, 2 * H]);
    const gate_TNH = op.slice(qGate_TN2H, 2, H, 2 * H);
    const q_TNH = norm(op.slice(qGate_TN2H, 2, 0, H), `${module}.q_norm`);
    const k_TKH = norm(op.reshape(project(h_TD, `${module}.wk`), [T, K, H]), `${module}.k_norm`);
    const v_TKH = op.reshape(project(h_TD, `${module}.wv`), [T, K, H]);
    const out_TNH = op.attention(op.rope(q_TNH, table, "half"), op.rope(k_TKH, table, "half"), v_TKH, {
      scale: H ** -0.5,
      mask: { kind: "causal" },
    });
    const gated_TNH = op.mul(out_TNH, op.map("sigmoid", gate_TNH));
    return op.add(x_TD, project(op.reshape(gated_TNH, [T, N * H]), `${module}.wo`));
  }

  /** use_qk_l2norm_in_kernel: x / √(Σ x² + 1e-6) of each head, times `scale`. */
  const l2Norm = (x_TJK: X, scale: number) =>
    op.affine(op.rmsNorm(x_TJK, null, 1e-6 / keyHeadDim), scale * keyHeadDim ** -0.5);

  /** GatedDeltaNet: x + Wo (silu(z) ⊙ weight ⊙ norm(o)), o by the gated delta rule over convolved q, k and v. */
  function deltaNet(x_TD: X, l: number): X {
    const T = x_TD.shape[0]!;
    const module = `layers.${l}.attn`;
    const h_TD = norm(x_TD, `layers.${l}.attention_norm`);
    const convolved = (part: "q" | "k" | "v", heads: number, channels: number) => {
      const filters = op.reshape(weight(`${module}.conv_${part}.weight`), [heads * channels, config.delta.kernel]);
      const x_TC = op.map("silu", op.causalConv(project(h_TD, `${module}.in_proj_${part}`), filters));
      return op.reshape(x_TC, [T, heads, channels]);
    };
    const q_TJK = l2Norm(convolved("q", J, keyHeadDim), keyHeadDim ** -0.5);
    const k_TJK = l2Norm(convolved("k", J, keyHeadDim), 1);
    const v_TWV = convolved("v", W, valueHeadDim);
    const z_TWV = op.reshape(project(h_TD, `${module}.in_proj_z`), [T, W, valueHeadDim]);
    // g = −exp(A_log) · softplus(a + dt_bias)
    const rate_TW = op.map("softplus", op.add(project(h_TD, `${module}.in_proj_a`), weight(`${module}.dt_bias`)));
    const g_TW = op.affine(op.mul(rate_TW, op.map("exp", weight(`${module}.A_log`))), -1);
    const beta_TW = op.map("sigmoid", project(h_TD, `${module}.in_proj_b`));

    const out_TWV = op.deltaRule(q_TJK, k_TJK, v_TWV, g_TW, beta_TW);
    const gated_TWV = op.mul(op.rmsNorm(out_TWV, weight(`${module}.norm.weight`), normEps), op.map("silu", z_TWV));
    return op.add(x_TD, project(op.reshape(gated_TWV, [T, W * valueHeadDim]), `${module}.out_proj`));
  }

  /** W₂ (silu(W₁ x) ⊙ W₃ x). */
  const swiglu = (x_TD: X, module: string) =>
    project(op.mul(op.map("silu", project(x_TD, `${module}.w1`)), project(x_TD, `${module}.w3`)), `${module}.w2`);

  /** x + one feed-forward, or x + Σₑ sₑ · W₂ₑ (silu(W₁ₑ x) ⊙ W₃ₑ x) + sigmoid(gate x) · shared(x). */
  function feedForward(x_TD: X, l: number): X {
    const h_TD = norm(x_TD, `layers.${l}.ffn_norm`);
    if (moe === null) return op.add(x_TD, swiglu(h_TD, `layers.${l}.feed_forward`));
    const module = `layers.${l}.moe`;
    const of = (name: string, axes: string, e: number) => {
      const stacked = weight(`${module}.${spelling.expert(name, axes)}`);
      return op.reshape(op.slice(stacked, 0, e, e + 1), stacked.shape.slice(1));
    };
    const routing = {
      name: `layers.${l}`,
      logits_TE: project(h_TD, `${module}.router.gate`),
      bias_E: weight(`${module}.${spelling.expertBias}`),
      router: routerOf(moe.topK),
      weighs: "output",
    } as const;
    const routed_TD = op.mixture(h_TD, routing, (x_nD, e) => {
      const hidden_nF = op.mul(
        op.map("silu", op.linear(x_nD, of("w1", "EFD", e))),
        op.linear(x_nD, of("w3", "EFD", e)),
      );
      return op.linear(hidden_nF, of("w2", "EDF", e));
    });
    const gate_T1 = op.map("sigmoid", project(h_TD, `${module}.shared_experts.gate`));
    const shared_TD = op.mul(swiglu(h_TD, `${module}.shared_experts`), gate_T1);
    return op.add(x_TD, op.add(routed_TD, shared_TD));
  }

  return { attention, deltaNet, feedForward };
}

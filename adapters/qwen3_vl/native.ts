// Qwen3-VL, dense and with experts, as torchtitan ran it until the family was removed. Suffixes name axes as in
// numerics/graph.ts; M merged patches of all images.
//   pytorch/torchtitan@adf340d3f9fa:torchtitan/models/qwen3_vl/{__init__,model,rope}.py
//   pytorch/torchtitan@adf340d3f9fa:torchtitan/models/qwen3/model.py
//   pytorch/torchtitan@adf340d3f9fa:torchtitan/models/common/{attention,feed_forward,moe,rope}.py
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
import type { Qwen3VlConfig } from "./config.ts";
import { type MergerGelu, visionEncoder } from "./native-vision.ts";

const MODELS = "https://github.com/pytorch/torchtitan/blob/adf340d3f9fa/torchtitan/models";

/** Settings in which torchtitan and transformers differ. */
interface Upstream {
  readonly frequencies: RopeFrequencies;
  readonly mergerGelu: MergerGelu;
}

/** How a revision spells its keys. */
interface Spelling {
  readonly head: string;
  readonly qkv: string;
  /** Whether wq, wk and wv are one tensor, wqkv. */
  readonly fused: boolean;
  readonly expert: (name: string, axes: string) => string;
  readonly expertBias: string;
}

export const nativeForward = (config: Qwen3VlConfig, spelling: Spelling): Forward =>
  forwardWith(config, spelling, torchtitan(config));

const torchtitan = ({ rope }: Qwen3VlConfig): Upstream => ({
  frequencies: rope.kind === "yarn" ? yarn(rope) : torchtitanFrequencies(rope, "CosSinRoPE"),
  mergerGelu: "geluTanh",
});

type YarnRope = Extract<Qwen3VlConfig["rope"], { kind: "yarn" }>;

/** `CosSinRoPE._precompute_cache`: cutoffs are not rounded to channels, and cos and sin carry 0.1 ln(factor) + 1. */
function yarn(rope: YarnRope): RopeFrequencies {
  if (rope.factor <= 1) return torchtitanFrequencies({ ...rope, kind: "default" }, "CosSinRoPE");
  const { invFreq } = transformersFrequencies({ ...rope, truncate: false });
  return { invFreq, attentionFactor: 0.1 * Math.log(rope.factor) + 1 };
}

/** Where this forward pass is known to differ from transformers'. */
export function nativeDifferences(config: Qwen3VlConfig, spelling: Spelling): readonly KnownDifference[] {
  const differences: KnownDifference[] = [];
  let upstream = torchtitan(config);
  const add = (change: Partial<Upstream>, difference: Omit<KnownDifference, "undone">) => {
    upstream = { ...upstream, ...change };
    differences.push({ ...difference, undone: forwardWith(config, spelling, upstream) });
  };
  const { invFreq, attentionFactor } = transformersFrequencies(config.rope);
  const own = upstream.frequencies;
  if (attentionFactor !== own.attentionFactor) {
    add(
      { frequencies: { ...own, attentionFactor } },
      {
        code: "YARN_ATTENTION_FACTOR",
        explanation: `torchtitan takes 0.1 ln(factor) + 1 for YaRN's attention factor, transformers ${attentionFactor}`,
        source: `${MODELS}/common/rope.py#L276-L300`,
        fix: "leave attention_factor, mscale and mscale_all_dim out of rope_parameters if the model was trained with torchtitan",
      },
    );
  }
  if (invFreq.some((frequency, i) => frequency !== own.invFreq[i])) {
    add(
      { frequencies: { invFreq, attentionFactor } },
      {
        code: "YARN_TRUNCATE",
        explanation: "torchtitan's Qwen3-VL does not round the channels between which YaRN interpolates",
        source: `${MODELS}/common/rope.py#L276-L300`,
        fix: 'set "truncate": false in rope_parameters if the model was trained with torchtitan',
      },
    );
  }
  add(
    { mergerGelu: "gelu" },
    {
      code: "VISION_MERGER_GELU",
      explanation:
        "the tower's patch mergers, DeepStack's too, have the tanh approximation of GELU in torchtitan and the exact one in transformers",
      source: `${MODELS}/qwen3_vl/vision_encoder.py#L314-L316`,
      fix: 'train with PatchMerger.Config(act_fn=GELU.Config(approximate="none")), or accept the difference: 5e-9 to 3e-7 nats/token in tiny models',
    },
  );
  return differences;
}

function forwardWith(config: Qwen3VlConfig, spelling: Spelling, { frequencies, mergerGelu }: Upstream): Forward {
  const { vision, tokens, normEps, nLayers } = config;

  return function* (op, weight, { ids_T, images, positions_T3 }) {
    const positions = positions_T3 ?? mropePositions(ids_T, images?.grids ?? [], tokens.image, vision.mergeSize);
    const table = mropeTable(frequencies, positions, config.mropeSection);
    const block = transformerBlock(op, weight, config, spelling, table);
    const encoded = images && (yield* visionEncoder(op, weight, vision, images, mergerGelu));
    const deepstack = encoded?.deepstack ?? [];
    const places = [...ids_T.keys()].filter((t) => ids_T[t] === tokens.image);
    /** `_scatter_vision_embeds`: x with the rows of placeholders replaced. */
    const scattered = (x_TD: typeof h_TD, rows_MD: typeof h_TD) => {
      const from = new Map(places.map((t, m) => [t, ids_T.length + m]));
      return op.gather(
        op.concat([x_TD, rows_MD], 0),
        ids_T.map((_, t) => from.get(t) ?? t),
      );
    };

    let h_TD = op.gather(weight("tok_embeddings.weight"), ids_T);
    if (encoded) h_TD = scattered(h_TD, encoded.merged_MD);
    yield { name: "embed", value: h_TD, keep: deepstack };

    for (let l = 0; l < nLayers; l++) {
      const pending = deepstack.filter((_, layer) => layer >= l);
      h_TD = block.attention(h_TD, l);
      yield { name: `layers.${l}.attn`, value: h_TD, keep: pending };
      h_TD = block.feedForward(h_TD, l);
      yield { name: `layers.${l}.ffn`, value: h_TD, keep: pending };
      if (l < deepstack.length) {
        h_TD = scattered(h_TD, op.add(op.gather(h_TD, places), deepstack[l]!));
        yield { name: `layers.${l}.deepstack`, value: h_TD, keep: pending.slice(1) };
      }
    }
    const y_TD = op.rmsNorm(h_TD, weight("norm.weight"), normEps);
    yield { name: "norm", value: y_TD };
    // A tied head and the embedding are one parameter.
    return op.linear(y_TD, weight(config.tied ? "tok_embeddings.weight" : spelling.head));
  };
}

type Positions = readonly (readonly [number, number, number])[];
type Grids = ImageInput["grids"];

/**
 * `_compute_mrope_position_ids`: each run of text, and each grid, begins one position after the largest one before it.
 */
function mropePositions(ids_T: readonly number[], grids: Grids, imageToken: number, m: number): Positions {
  const positions: (readonly [number, number, number])[] = [];
  let [image, offset] = [0, 0];
  for (let t = 0; t < ids_T.length; ) {
    if (ids_T[t] !== imageToken || image === grids.length) {
      positions.push([offset, offset, offset]);
      offset += 1;
      t += 1;
      continue;
    }
    const [frames, rows, columns] = [grids[image]![0], grids[image]![1] / m, grids[image]![2] / m];
    const merged = frames * rows * columns;
    for (let i = 0; i < merged; i++) {
      const frame = Math.floor(i / (rows * columns));
      positions.push([offset + frame, offset + (Math.floor(i / columns) % rows), offset + (i % columns)]);
    }
    offset += Math.max(frames, rows, columns);
    image += 1;
    t += merged;
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
    const own = column % 3 === 1 ? h! : column % 3 === 2 ? w! : t!;
    return column < section[column % 3]! * 3 ? own : t!;
  });
  const pick = (part: "cos" | "sin") => t![part].map((_, i) => columns[i % pairs]![part][i]!);
  return { tokens: positions.length, pairs, cos: pick("cos"), sin: pick("sin") };
}

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

/** Qwen3TransformerBlock. */
function transformerBlock<X extends Node>(
  op: Ops<X>,
  weight: Weights<X>,
  config: Qwen3VlConfig,
  spelling: Spelling,
  table: RopeTable,
) {
  const { nHeads: N, nKvHeads: K, headDim: H, normEps, attentionBias, moe } = config;
  const project = (x_TI: X, module: string, bias = false) =>
    op.linear(x_TI, weight(`${module}.weight`), bias ? weight(`${module}.bias`) : undefined);

  /** q [T, N, H], k and v [T, K, H]; fused, a key head's N/K queries, its key and its value lie together. */
  function queriesKeysValues(a_TD: X, l: number): readonly [X, X, X] {
    const T = a_TD.shape[0]!;
    const linears = `layers.${l}.${spelling.qkv}`;
    if (spelling.fused) {
      const R = N / K;
      const qkv_TKGH = op.reshape(project(a_TD, `${linears}.wqkv`, attentionBias), [T, K, R + 2, H]);
      const part = (begin: number, end: number) =>
        op.reshape(op.slice(qkv_TKGH, 2, begin, end), [T, K * (end - begin), H]);
      return [part(0, R), part(R, R + 1), part(R + 1, R + 2)];
    }
    const heads = (name: string, count: number) =>
      op.reshape(project(a_TD, `${linears}.${name}`, attentionBias), [T, count, H]);
    return [heads("wq", N), heads("wk", K), heads("wv", K)];
  }

  /** x + Wo · softmax(q kᵀ / √H) v. */
  function attention(x_TD: X, l: number): X {
    const module = `layers.${l}.attention`;
    const a_TD = op.rmsNorm(x_TD, weight(`layers.${l}.attention_norm.weight`), normEps);
    const [q, k, v_TKH] = queriesKeysValues(a_TD, l);
    const q_TNH = op.rope(op.rmsNorm(q, weight(`${module}.q_norm.weight`), normEps), table, "half");
    const k_TKH = op.rope(op.rmsNorm(k, weight(`${module}.k_norm.weight`), normEps), table, "half");
    const out_TNH = op.attention(q_TNH, k_TKH, v_TKH, { scale: 1 / Math.sqrt(H), mask: { kind: "causal" } });
    return op.add(x_TD, project(op.reshape(out_TNH, [x_TD.shape[0]!, N * H]), `${module}.wo`, attentionBias));
  }

  /** x + Σₑ sₑ · W₂ₑ (silu(W₁ₑ x) ⊙ W₃ₑ x), or one feed-forward. */
  function feedForward(x_TD: X, l: number): X {
    const m_TD = op.rmsNorm(x_TD, weight(`layers.${l}.ffn_norm.weight`), normEps);
    if (moe === null || moe.denseLayers.includes(l)) {
      const module = `layers.${l}.feed_forward`;
      const hidden_TF = op.mul(op.map("silu", project(m_TD, `${module}.w1`)), project(m_TD, `${module}.w3`));
      return op.add(x_TD, project(hidden_TF, `${module}.w2`));
    }
    const { w1, w2, w3, bias_E } = expertWeights(weight, spelling, `layers.${l}.moe`);
    const of = (stacked: X, e: number) => op.reshape(op.slice(stacked, 0, e, e + 1), stacked.shape.slice(1));
    const logits_TE = project(m_TD, `layers.${l}.moe.router.gate`);
    const routing = { name: `layers.${l}`, logits_TE, bias_E, router: routerOf(moe.topK), weighs: "output" } as const;
    const out_TD = op.mixture(m_TD, routing, (x_nD, e) => {
      const h_nF = op.mul(op.map("silu", op.linear(x_nD, of(w1, e))), op.linear(x_nD, of(w3, e)));
      return op.linear(h_nF, of(w2, e));
    });
    return op.add(x_TD, out_TD);
  }

  return { attention, feedForward };
}

/** GroupedExperts: [E, F, D], [E, D, F], [E, F, D], under the names of the revision. */
function expertWeights<X extends Node>(weight: Weights<X>, { expert, expertBias }: Spelling, moe: string) {
  return {
    w1: weight(`${moe}.${expert("w1", "EFD")}`),
    w2: weight(`${moe}.${expert("w2", "EDF")}`),
    w3: weight(`${moe}.${expert("w3", "EFD")}`),
    bias_E: weight(`${moe}.${expertBias}`),
  };
}

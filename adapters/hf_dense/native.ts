// Dense decoders as torchtitan's transformers backend runs them: transformers' modules under `model.`, with flex
// attention, one causal mask for all layers, and a head that the backend calls itself. Suffixes as in numerics/graph.ts.
//   pytorch/torchtitan@v0.3.0:torchtitan/experiments/transformers_modeling_backend/model.py, HFTransformerModel.forward
//   huggingface/transformers@v5.23.0:src/transformers/integrations/flex_attention.py, flex_attention_forward
// and each architecture's modeling file, which traits.ts names.
import type { Forward, KnownDifference, Node, Ops, RopeTable, Weights } from "../../numerics/graph.ts";
import { ropeTable } from "../../numerics/rope.ts";
import { type Decoder, frequenciesOf, type Layer, type Norm } from "./config.ts";

/** What the backend leaves out of transformers' forward pass. */
interface Upstream {
  readonly windows: boolean;
  readonly afterHead: boolean;
}

const TORCHTITAN: Upstream = { windows: false, afterHead: false };
const BACKEND =
  "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/experiments/transformers_modeling_backend/model.py";

export const nativeForward = (m: Decoder): Forward => forwardWith(m, TORCHTITAN);

export function nativeDifferences(m: Decoder): readonly KnownDifference[] {
  const differences: KnownDifference[] = [];
  let upstream = TORCHTITAN;
  if (m.logits.scale !== 1 || m.logits.softcap !== null) {
    upstream = { ...upstream, afterHead: true };
    differences.push({
      code: "LOGITS_AFTER_HEAD",
      explanation:
        "torchtitan's transformers backend takes the output of lm_head for logits: the scaling or softcapping that transformers' ForCausalLM adds is left out",
      source: `${BACKEND}#L1110-L1155`,
      fix: "a model trained so is served right by transformers only with that scaling at 1 and no final_logit_softcapping in its config",
      undone: forwardWith(m, upstream),
    });
  }
  if (m.layers.some(({ window }) => window !== null)) {
    upstream = { ...upstream, windows: true };
    differences.push({
      code: "SLIDING_WINDOW",
      explanation:
        "torchtitan's transformers backend gives every layer its own causal mask, also those that transformers gives a sliding window",
      source: `${BACKEND}#L1046-L1083`,
      fix: "set sliding_window to null, or layer_types to full_attention, if the model was trained with torchtitan",
      undone: forwardWith(m, upstream),
    });
  }
  return differences;
}

function forwardWith(m: Decoder, { windows, afterHead }: Upstream): Forward {
  return function* (op, weight, { ids_T }) {
    const w = (name: string) => weight(`model.${name}`);
    const run = { op, w, m, T: ids_T.length, tables: tablesOf(m, ids_T.length) };

    const E_VD = w("model.embed_tokens.weight");
    let x_TD = op.affine(op.gather(E_VD, ids_T), m.embedScale);
    if (m.embedNorm) x_TD = normalised(run, m.norm, `model.${m.finalNorm}`, x_TD);
    yield { name: "embed", value: x_TD };

    for (let l = 0; l < m.layers.length; l++) {
      const at = (module: string | null, y: typeof x_TD) =>
        module === null ? y : normalised(run, m.norm, `model.layers.${l}.${module}`, y);
      const { window, rope } = m.layers[l]!;
      const layer: Layer = { window: windows ? window : null, rope };

      // x + r · norm(attention(norm(x))), then the same with the MLP; parallel ones read the same norm(x)
      const a_TD = at(m.places.beforeAttention, x_TD);
      const y_TD = at(m.places.afterAttention, attention(run, l, layer, a_TD));
      x_TD = op.add(op.affine(y_TD, m.residualScale), x_TD);
      yield { name: `layers.${l}.attn`, value: x_TD, ...(m.parallel ? { keep: [a_TD] } : {}) };

      const f_TD = m.parallel ? a_TD : at(m.places.beforeMlp, x_TD);
      const z_TD = at(m.places.afterMlp, feedForward(run, `model.layers.${l}.mlp`, f_TD));
      x_TD = op.add(op.affine(z_TD, m.residualScale), x_TD);
      yield { name: `layers.${l}.ffn`, value: x_TD };
    }

    const y_TD = normalised(run, m.norm, `model.${m.finalNorm}`, x_TD);
    yield { name: "norm", value: y_TD };
    // A tied head and the embedding are one parameter.
    const head_VD = m.tied ? w("model.embed_tokens.weight") : w("lm_head.weight");
    const logits_TV = op.linear(y_TD, head_VD, m.headBias ? w("lm_head.bias") : undefined);
    if (!afterHead) return logits_TV;
    const { scale, softcap } = m.logits;
    if (softcap === null) return op.affine(logits_TV, scale);
    return op.affine(op.map("tanh", op.affine(logits_TV, scale / softcap)), softcap);
  };
}

interface Run<X extends Node> {
  readonly op: Ops<X>;
  /** A weight of transformers' module. */
  readonly w: Weights<X>;
  readonly m: Decoder;
  readonly T: number;
  /** By layer. */
  readonly tables: readonly (RopeTable | null)[];
}

/** The backend sets max_position_embeddings to the training length, so theta never grows. */
function tablesOf({ layers, rotation }: Decoder, T: number): (RopeTable | null)[] {
  const positions_T = Array.from({ length: T }, (_, t) => t);
  const made = new Map<Layer["rope"], RopeTable>();
  return layers.map(({ rope }) => {
    if (rope === null) return null;
    const known = made.get(rope);
    if (known !== undefined) return known;
    const table = ropeTable(frequenciesOf(rope, rope.kind === "dynamic" ? 0 : T), positions_T);
    const turned = rotation.minus ? { ...table, sin: table.sin.map((s) => 0 - s) } : table;
    made.set(rope, turned);
    return turned;
  });
}

const filled = (size: number, value: number): number[] => Array.from({ length: size }, () => value);

function normalised<X extends Node>({ op, w }: Run<X>, norm: Norm, module: string, x: X): X {
  const size = x.shape[x.shape.length - 1]!;
  const weight = norm.weight === "none" ? op.constant(filled(size, 1), [size]) : w(`${module}.weight`);
  const gain = norm.weight === "plusOne" ? op.add(weight, op.constant(filled(size, 1), [size])) : weight;
  if (norm.kind === "rms") return op.rmsNorm(x, gain, norm.eps);
  const shift = norm.bias ? w(`${module}.bias`) : op.constant(filled(size, 0), [size]);
  return op.layerNorm(x, gain, shift, norm.eps);
}

function projected<X extends Node>({ op, w }: Run<X>, module: string, bias: boolean, x_TI: X): X {
  return bias ? op.linear(x_TI, w(`${module}.weight`), w(`${module}.bias`)) : op.linear(x_TI, w(`${module}.weight`));
}

/** Wo · softmax(s · q kᵀ) v */
function attention<X extends Node>(run: Run<X>, l: number, layer: Layer, a_TD: X): X {
  const { op, w, m, T } = run;
  const module = `model.layers.${l}.self_attn`;
  const { softcap, sinks, subNorm, growth } = m.attention;
  const turn = (x_TNH: X) => (run.tables[l] ? op.rope(x_TNH, run.tables[l], m.rotation.pairs) : x_TNH);
  const three = m.attention.latent === null ? dense(run, module, turn, a_TD) : latent(run, module, turn, a_TD);
  const [q_TNH, k_TKH, v_TKC] = three;
  const grown_TNH = growth === null ? q_TNH : op.mul(q_TNH, op.constant(growthOf(growth, T), [T, 1, 1]));
  const attend = (values: X) =>
    op.attention(grown_TNH, k_TKH, values, {
      scale: m.attention.scale,
      mask: layer.window === null ? { kind: "causal" } : { kind: "window", size: layer.window },
      ...(softcap === null ? {} : { softcap }),
      ...(sinks ? { sinks_N: w(`${module}.sinks`) } : {}),
    });
  const o_TNC = m.attention.differential ? differential(run, module, l, attend, v_TKC) : attend(v_TKC);
  const o_TI = op.reshape(o_TNC, [T, o_TNC.shape[1]! * o_TNC.shape[2]!]);
  const inner_TI = subNorm === null ? o_TI : normalised(run, m.norm, `${module}.${subNorm}`, o_TI);
  return projected(run, `${module}.${m.attention.output}`, m.attention.outputBias, inner_TI);
}

/** 1 + β ln(1 + ⌊t / span⌋) of each position, f32 as torch takes it. */
function growthOf({ beta, span }: { readonly beta: number; readonly span: number }, T: number): Float32Array {
  return Float32Array.from({ length: T }, (_, t) => {
    const logarithm = Math.fround(Math.log(Math.floor(t / span) + 1));
    return 1 + Math.fround(logarithm * Math.fround(beta));
  });
}

type Turn<X extends Node> = (x_TNH: X) => X;

/** [T, N, H], [T, K, H], [T, K, H]. */
function dense<X extends Node>(run: Run<X>, module: string, turn: Turn<X>, a_TD: X): readonly [X, X, X] {
  const { op, m, T } = run;
  const { nHeads: N, nKvHeads: K, headDim: H, qkNorm } = m.attention;
  const [q_TI, k_TI, v_TI] = queriesKeysValues(run, module, a_TD);
  const finish = (x_TI: X, heads: number, name: string | undefined) => {
    if (qkNorm === null || name === undefined) return turn(op.reshape(x_TI, [T, heads, H]));
    const key = `${module}.${name}`;
    if (qkNorm.over === "whole") return turn(op.reshape(normalised(run, qkNorm.norm, key, x_TI), [T, heads, H]));
    const norm = (x_TNH: X) =>
      qkNorm.over === "head" ? normalised(run, qkNorm.norm, key, x_TNH) : headByHead(run, qkNorm.norm, key, x_TNH);
    const x_TNH = op.reshape(x_TI, [T, heads, H]);
    return qkNorm.afterRope ? norm(turn(x_TNH)) : turn(norm(x_TNH));
  };
  return [finish(q_TI, N, qkNorm?.q), finish(k_TI, K, qkNorm?.k), op.reshape(v_TI, [T, K, H])];
}

/** Each head by a weight of its own: a row of [N, H] (Cohere), or a module (StableLM). */
function headByHead<X extends Node>(run: Run<X>, norm: Norm, module: string, x_TNH: X): X {
  const { op, w, m } = run;
  const [, N, H] = x_TNH.shape;
  const gain_H = (n: number) =>
    m.attention.qkNorm?.over === "modules"
      ? w(`${module}.norms.${n}.weight`)
      : op.reshape(op.slice(w(`${module}.weight`), 0, n, n + 1), [H!]);
  const zero_H = op.constant(filled(H!, 0), [H!]);
  const heads = filled(N!, 0).map((_, n) => op.layerNorm(op.slice(x_TNH, 1, n, n + 1), gain_H(n), zero_H, norm.eps));
  return op.concat(heads, 1);
}

function queriesKeysValues<X extends Node>(run: Run<X>, module: string, a_TD: X): readonly [X, X, X] {
  const { op, w, m, T } = run;
  const { nHeads: N, nKvHeads: K, headDim: H, projections, qkvBias, clip } = m.attention;
  if (projections === "fused") {
    const W = w(`${module}.qkv_proj.weight`);
    const rows = (begin: number, end: number) => op.linear(a_TD, op.slice(W, 0, begin * H, end * H));
    return [rows(0, N), rows(N, N + K), rows(N + K, N + 2 * K)];
  }
  if (projections === "perHead") {
    // A head's query, key and value lie one behind another: [N · 3 · H] → [3, T, N · H]
    const all = op.reshape(projected(run, `${module}.query_key_value`, qkvBias, a_TD), [T, N, 3, H]);
    const apart = op.permute(all, [2, 0, 1, 3]);
    const one = (i: number) => op.reshape(op.slice(apart, 0, i, i + 1), [T, N * H]);
    return [one(0), one(1), one(2)];
  }
  const [q, k, v] = ["q_proj", "k_proj", "v_proj"].map((name) => projected(run, `${module}.${name}`, qkvBias, a_TD));
  const bounded = (x: X) => (clip === null ? x : op.clamp(x, 0 - clip, clip));
  return [bounded(q!), bounded(k!), bounded(v!)];
}

/** Queries and keys of the unrotated channels, then of the rotated ones, which all key heads share. */
function latent<X extends Node>(run: Run<X>, module: string, turn: Turn<X>, a_TD: X): readonly [X, X, X] {
  const { op, w, m, T } = run;
  const { qRank, kvRank: Z, nopeDim: A, ropeDim: B, valueDim: C, eps } = m.attention.latent!;
  const N = m.attention.nHeads;
  const norm = (name: string, x: X) => op.rmsNorm(x, w(`${module}.${name}.weight`), eps);
  const from = (name: string, x: X) => op.linear(x, w(`${module}.${name}.weight`));

  const q_TI = qRank === null ? from("q_proj", a_TD) : from("q_b_proj", norm("q_a_layernorm", from("q_a_proj", a_TD)));
  const q_TNH = op.reshape(q_TI, [T, N, A + B]);
  const down = w(`${module}.kv_a_proj_with_mqa.weight`);
  const z_TZ = norm("kv_a_layernorm", op.linear(a_TD, op.slice(down, 0, 0, Z)));
  const r_T1B = turn(op.reshape(op.linear(a_TD, op.slice(down, 0, Z, Z + B)), [T, 1, B]));
  const r_TNB = op.mul(op.constant(filled(T * N * B, 1), [T, N, B]), r_T1B);
  const up_TNC = op.reshape(from("kv_b_proj", z_TZ), [T, N, A + C]);
  const queries = op.concat([op.slice(q_TNH, 2, 0, A), turn(op.slice(q_TNH, 2, A, A + B))], 2);
  return [queries, op.concat([op.slice(up_TNC, 2, 0, A), r_TNB], 2), op.slice(up_TNC, 2, A, A + C)];
}

/** Heads of two attentions over one half of the values each; λ of the second half of heads is taken from the first. */
function differential<X extends Node>(run: Run<X>, module: string, l: number, attend: (values: X) => X, v_TKH: X): X {
  const { op, w, m } = run;
  const K = v_TKH.shape[1]!;
  const over = (begin: number) => {
    const half = op.slice(v_TKH, 1, begin, begin + K / 2);
    return attend(op.concat([half, half], 1));
  };
  const both_TNC = op.concat([over(0), over(K / 2)], 2);
  const N = both_TNC.shape[1]!;
  const lambdaInit = 0.8 - 0.6 * Math.exp(l * -0.3);
  const exponent = (i: 1 | 2) => {
    const [q_H, k_H] = [w(`${module}.lambda_q${i}`), w(`${module}.lambda_k${i}`)];
    const H = q_H.shape[0]!;
    return op.map("exp", op.linear(op.reshape(q_H, [1, H]), op.reshape(k_H, [1, H])));
  };
  const minusLambda = op.affine(op.add(op.affine(exponent(1), -1), exponent(2)), 1, -lambdaInit);
  const second = op.mul(op.slice(both_TNC, 1, N / 2, N), op.reshape(minusLambda, [1, 1, 1]));
  const normed = op.rmsNorm(op.add(op.slice(both_TNC, 1, 0, N / 2), second), null, m.norm.eps);
  return op.affine(normed, 1 - lambdaInit);
}

/** W₂ (f(W₁ x) ⊙ W₃ x), or W₂ f(W₁ x). */
function feedForward<X extends Node>(run: Run<X>, module: string, x_TD: X): X {
  const { op, w, m } = run;
  const { kind, into, down, bias, subNorm } = m.mlp;
  let inner_TF: X;
  if (kind === "fused") {
    const W = w(`${module}.${into[0]}.weight`);
    const F = W.shape[0]! / 2;
    const up_TF = op.linear(x_TD, op.slice(W, 0, F, 2 * F));
    inner_TF = op.mul(up_TF, activated(run, module, op.linear(x_TD, op.slice(W, 0, 0, F))));
  } else {
    inner_TF = activated(run, module, projected(run, `${module}.${into[0]}`, bias, x_TD));
    if (kind === "gated") inner_TF = op.mul(inner_TF, projected(run, `${module}.${into[1]}`, bias, x_TD));
  }
  const normed_TF = subNorm === null ? inner_TF : normalised(run, m.norm, `${module}.${subNorm}`, inner_TF);
  return projected(run, `${module}.${down}`, bias, normed_TF);
}

/** Larger than any activation and finite in f32. */
const HUGE = 1e30;

function activated<X extends Node>({ op, w, m }: Run<X>, mlp: string, x: X): X {
  const f = m.mlp.activation;
  if (f === "relu") return op.clamp(x, 0, HUGE);
  if (f === "relu2") return op.mul(x, op.clamp(x, 0, HUGE));
  if (f !== "xielu") return op.map(f, x);
  // α₊ x² + β x where x > 0; α₋ (exp(min(x, ε)) − 1 − x) + β x elsewhere
  const parameter = (name: string) => op.reshape(w(`${mlp}.act_fn.${name}`), [1]);
  const [beta, eps] = [parameter("beta"), parameter("eps")];
  const plus = op.map("softplus", parameter("alpha_p"));
  const minus = op.add(op.map("softplus", parameter("alpha_n")), beta);
  const isAbove = op.clamp(op.affine(x, HUGE), 0, 1);
  const isBelow = op.affine(isAbove, -1, 1);
  // min(x, ε) = ε + min(x − ε, 0)
  const capped = op.add(op.clamp(op.add(x, op.affine(eps, -1)), -HUGE, 0), eps);
  const bent = op.add(op.affine(op.map("exp", capped), 1, -1), op.affine(x, -1));
  const above = op.mul(op.mul(op.mul(x, x), plus), isAbove);
  return op.add(op.add(above, op.mul(op.mul(bent, minus), isBelow)), op.mul(x, beta));
}

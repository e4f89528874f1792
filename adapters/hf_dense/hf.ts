// Dense decoders as transformers runs them. Suffixes name axes as in numerics/graph.ts; Q, Z latents.
// Each architecture's own modeling file is named in traits.ts:
//   huggingface/transformers@v5.23.0:src/transformers/models/<file>/modeling_<file>.py
import type { AttentionMask, Forward, Node, Ops, Weights } from "../../numerics/graph.ts";
import { ropeTable } from "../../numerics/rope.ts";
import { type Decoder, frequenciesOf, type Layer, type Norm } from "./config.ts";
import { activate } from "./hf-activation.ts";

/** <Model>ForCausalLM.forward */
export function hfForward(model: Decoder): Forward {
  return function* (op, weight, { ids_T, wholeLength = ids_T.length }) {
    const part = new Modules(op, weight, model, ids_T.length, wholeLength);
    let hidden_TD = op.gather(weight("model.embed_tokens.weight"), ids_T);
    if (model.embedScale !== 1) hidden_TD = op.affine(hidden_TD, model.embedScale);
    if (model.embedNorm) hidden_TD = part.norm(model.norm, hidden_TD, `model.${model.finalNorm}`);
    yield { name: "embed", value: hidden_TD };

    for (const [l, layer] of model.layers.entries()) {
      const name = `model.layers.${l}`;
      const { beforeAttention, afterAttention, beforeMlp, afterMlp } = model.places;
      const residual_TD = hidden_TD;
      const input_TD = part.normAt(beforeAttention, name, residual_TD);
      const attended_TD = part.normAt(afterAttention, name, part.attention(input_TD, `${name}.self_attn`, layer, l));
      const own = model.residualWeights;
      hidden_TD = part.onto(residual_TD, attended_TD, own && `${name}.${own.attention}`);
      yield model.parallel
        ? { name: `layers.${l}.attn`, value: hidden_TD, keep: [input_TD] }
        : { name: `layers.${l}.attn`, value: hidden_TD };

      const read_TD = model.parallel ? input_TD : part.normAt(beforeMlp, name, hidden_TD);
      const mapped_TD = part.normAt(afterMlp, name, part.mlp(read_TD, `${name}.mlp`));
      hidden_TD = part.onto(hidden_TD, mapped_TD, own && `${name}.${own.mlp}`);
      yield { name: `layers.${l}.ffn`, value: hidden_TD };
    }

    hidden_TD = part.norm(model.norm, hidden_TD, `model.${model.finalNorm}`);
    yield { name: "norm", value: hidden_TD };
    return logits(op, weight, model, hidden_TD);
  };
}

function logits<N extends Node>(op: Ops<N>, weight: Weights<N>, model: Decoder, hidden_TD: N): N {
  const { scale, softcap } = model.logits;
  const head_VD = weight(model.tied ? "model.embed_tokens.weight" : "lm_head.weight");
  const raw_TV = op.linear(hidden_TD, head_VD, model.headBias ? weight("lm_head.bias") : undefined);
  const scaled_TV = scale === 1 ? raw_TV : op.affine(raw_TV, scale);
  return softcap === null ? scaled_TV : op.affine(op.map("tanh", op.affine(scaled_TV, 1 / softcap)), softcap);
}

/** One model's modules, over some tokens. */
class Modules<N extends Node> {
  private readonly tables = new Map<unknown, ReturnType<typeof ropeTable>>();

  constructor(
    private readonly op: Ops<N>,
    private readonly weight: Weights<N>,
    private readonly model: Decoder,
    private readonly tokens: number,
    private readonly wholeLength: number,
  ) {}

  private linear(x: N, module: string, bias: boolean): N {
    return this.op.linear(x, this.weight(`${module}.weight`), bias ? this.weight(`${module}.bias`) : undefined);
  }

  /** @param own weights of the residual */
  onto(residual_TD: N, x_TD: N, own: string | null): N {
    const { residualScale } = this.model;
    const kept_TD = own === null ? residual_TD : this.op.mul(residual_TD, this.weight(own));
    return this.op.add(kept_TD, residualScale === 1 ? x_TD : this.op.affine(x_TD, residualScale));
  }

  normAt(place: string | null, layer: string, x_TD: N): N {
    return place === null ? x_TD : this.norm(this.model.norm, x_TD, `${layer}.${place}`);
  }

  /** RMSNorm, LayerNorm, LayerNorm1P, and those without weights. */
  norm({ kind, eps, weight, bias }: Norm, x: N, module: string): N {
    const size = x.shape.at(-1)!;
    const own = weight === "none" ? null : this.weight(`${module}.weight`);
    const factor = own !== null && weight === "plusOne" ? this.op.affine(own, 1, 1) : own;
    if (kind === "rms") return this.op.rmsNorm(x, factor, eps);
    const offset = bias ? this.weight(`${module}.bias`) : this.fill(0, size);
    return this.op.layerNorm(x, factor ?? this.fill(1, size), offset, eps);
  }

  private fill(value: number, size: number): N {
    return this.op.constant(new Float64Array(size).fill(value), [size]);
  }

  attention(x_TD: N, module: string, layer: Layer, l: number): N {
    const { op, tokens, model } = this;
    const { nHeads, latent, subNorm, output, outputBias, growth, scale, softcap, sinks } = model.attention;
    let [q_TNH, k_TKH, v_TKC] =
      latent === null ? this.heads(x_TD, module, layer) : this.latentHeads(x_TD, module, layer);
    if (model.attention.dynamicMask !== null) [q_TNH, k_TKH] = this.keyBias(q_TNH, k_TKH, v_TKC, module);
    if (growth !== null) q_TNH = op.mul(q_TNH, this.growth(growth));
    if (model.attention.differential) v_TKC = this.bothHalves(v_TKC);
    const mask: AttentionMask = layer.window === null ? { kind: "causal" } : { kind: "window", size: layer.window };
    const sinks_N = sinks ? this.weight(`${module}.sinks`) : undefined;
    let mixed_TNC = op.attention(q_TNH, k_TKH, v_TKC, { scale, mask, softcap: softcap ?? undefined, sinks_N });
    if (model.attention.differential) mixed_TNC = this.difference(mixed_TNC, module, l);
    const mixed_TI = op.reshape(mixed_TNC, [tokens, nHeads * (latent?.valueDim ?? model.attention.headDim)]);
    const normed_TI = subNorm === null ? mixed_TI : this.norm(model.norm, mixed_TI, `${module}.${subNorm}`);
    return this.linear(normed_TI, `${module}.${output}`, outputBias);
  }

  private heads(x_TD: N, module: string, layer: Layer): [N, N, N] {
    const { op, tokens } = this;
    const { nHeads, nKvHeads, headDim, qkNorm } = this.model.attention;
    let [q_TI, k_TI, v_TI] = this.project(x_TD, module);
    if (qkNorm?.over === "whole") {
      q_TI = this.norm(qkNorm.norm, q_TI, `${module}.${qkNorm.q}`);
      k_TI = this.norm(qkNorm.norm, k_TI, `${module}.${qkNorm.k}`);
    }
    let q_TNH = op.reshape(q_TI, [tokens, nHeads, headDim]);
    let k_TKH = op.reshape(k_TI, [tokens, nKvHeads, headDim]);
    const isNormed = qkNorm !== null && qkNorm.over !== "whole";
    if (isNormed && !qkNorm.afterRope) [q_TNH, k_TKH] = this.qkNorm(q_TNH, k_TKH, module);
    [q_TNH, k_TKH] = [this.rotate(q_TNH, layer), this.rotate(k_TKH, layer)];
    if (isNormed && qkNorm.afterRope) [q_TNH, k_TKH] = this.qkNorm(q_TNH, k_TKH, module);
    return [q_TNH, k_TKH, op.reshape(v_TI, [tokens, nKvHeads, headDim])];
  }

  /** Queries, keys and values, their heads side by side. */
  private project(x_TD: N, module: string): [N, N, N] {
    const { op, tokens } = this;
    const { nHeads, nKvHeads, headDim, projections, qkvBias, clip } = this.model.attention;
    const [queries, keys] = [nHeads * headDim, nKvHeads * headDim];
    switch (projections) {
      case "split": {
        const clamped = (x: N) => (clip === null ? x : op.clamp(x, -clip, clip));
        const one = (name: string) => clamped(this.linear(x_TD, `${module}.${name}`, qkvBias));
        return [one("q_proj"), one("k_proj"), one("v_proj")];
      }
      case "fused": {
        const qkv = this.linear(x_TD, `${module}.qkv_proj`, qkvBias);
        const [from, to] = [queries + keys, queries + 2 * keys];
        return [op.slice(qkv, 1, 0, queries), op.slice(qkv, 1, queries, from), op.slice(qkv, 1, from, to)];
      }
      case "perHead": {
        const fused = this.linear(x_TD, `${module}.query_key_value`, qkvBias);
        const qkv_TN3H = op.reshape(fused, [tokens, nHeads, 3, headDim]);
        const one = (i: number) => op.reshape(op.slice(qkv_TN3H, 2, i, i + 1), [tokens, queries]);
        return [one(0), one(1), one(2)];
      }
      default:
        throw projections satisfies never;
    }
  }

  private qkNorm(q_TNH: N, k_TKH: N, module: string): [N, N] {
    const { norm, q, k, over } = this.model.attention.qkNorm!;
    if (over === "head") return [this.norm(norm, q_TNH, `${module}.${q}`), this.norm(norm, k_TKH, `${module}.${k}`)];
    // A weight for each head: normed without one, then multiplied.
    const each = (x: N, name: string) => {
      const [heads, channels] = [x.shape[1]!, x.shape[2]!];
      const row = (n: number) => this.op.reshape(this.weight(`${module}.${name}.norms.${n}.weight`), [1, channels]);
      const own =
        over === "heads"
          ? this.weight(`${module}.${name}.weight`)
          : this.op.concat(
              Array.from({ length: heads }, (_, n) => row(n)),
              0,
            );
      return this.op.mul(this.norm({ ...norm, weight: "none", bias: false }, x, ""), own);
    };
    return [each(q_TNH, q), each(k_TKH, k)];
  }

  private rotate(x_TNH: N, { rope }: Layer): N {
    if (rope === null) return x_TNH;
    const { pairs, minus } = this.model.rotation;
    let table = this.tables.get(rope);
    if (table === undefined) {
      table = ropeTable(
        frequenciesOf(rope, this.wholeLength),
        Array.from({ length: this.tokens }, (_, t) => t),
      );
      if (minus) table = { ...table, sin: table.sin.map((sin) => -sin) };
      this.tables.set(rope, table);
    }
    return this.op.rope(x_TNH, table, pairs);
  }

  /** Multi-head latent attention; the rotated channels of the keys are one head that all share. */
  private latentHeads(x_TD: N, module: string, layer: Layer): [N, N, N] {
    const { op, tokens, model } = this;
    const { nHeads } = model.attention;
    const { qRank, kvRank, nopeDim, ropeDim, valueDim, eps } = model.attention.latent!;
    const latentNorm: Norm = { kind: "rms", weight: "plain", bias: false, eps };
    const at = (name: string) => `${module}.${name}`;
    const query = () => {
      if (qRank === null) return this.linear(x_TD, at("q_proj"), false);
      const low_TQ = this.norm(latentNorm, this.linear(x_TD, at("q_a_proj"), false), at("q_a_layernorm"));
      return this.linear(low_TQ, at("q_b_proj"), false);
    };
    const q_TNH = op.reshape(query(), [tokens, nHeads, nopeDim + ropeDim]);
    const compressed = this.linear(x_TD, at("kv_a_proj_with_mqa"), false);
    const z_TZ = this.norm(latentNorm, op.slice(compressed, 1, 0, kvRank), at("kv_a_layernorm"));
    const kRot_TKH = op.reshape(op.slice(compressed, 1, kvRank, kvRank + ropeDim), [tokens, 1, ropeDim]);
    const kv_TNC = op.reshape(this.linear(z_TZ, at("kv_b_proj"), false), [tokens, nHeads, nopeDim + valueDim]);
    const shared = this.rotate(kRot_TKH, layer);
    const k_TNH = op.concat(
      [
        op.slice(kv_TNC, 2, 0, nopeDim),
        op.concat(
          Array.from({ length: nHeads }, () => shared),
          1,
        ),
      ],
      2,
    );
    const turned = this.rotate(op.slice(q_TNH, 2, nopeDim, nopeDim + ropeDim), layer);
    return [
      op.concat([op.slice(q_TNH, 2, 0, nopeDim), turned], 2),
      k_TNH,
      op.slice(kv_TNC, 2, nopeDim, nopeDim + valueDim),
    ];
  }

  /** DogeAttention: q · k + exp(A · softplus(dt_proj v)) / scale, by one more channel of each head. */
  private keyBias(q_TNH: N, k_TKH: N, v_TKH: N, module: string): [N, N] {
    const { op, tokens } = this;
    const { nHeads, nKvHeads, headDim, scale } = this.model.attention;
    const dt_TK = this.linear(op.reshape(v_TKH, [tokens, nKvHeads * headDim]), `${module}.dt_proj`, false);
    const bias_TK = op.map("exp", op.mul(op.map("softplus", dt_TK), this.weight(`${module}.A`)));
    const channel_TK1 = op.reshape(op.affine(bias_TK, 1 / scale), [tokens, nKvHeads, 1]);
    const ones_TN1 = op.reshape(this.fill(1, tokens * nHeads), [tokens, nHeads, 1]);
    return [op.concat([q_TNH, ones_TN1], 2), op.concat([k_TKH, channel_TK1], 2)];
  }

  /** get_llama_4_attn_scale: 1 + beta · ln(1 + ⌊t / span⌋), in f32. */
  private growth({ beta, span }: { readonly beta: number; readonly span: number }): N {
    const f32 = Math.fround;
    const values = Array.from({ length: this.tokens }, (_, t) =>
      f32(1 + f32(f32(beta) * f32(Math.log(1 + Math.floor(t / span))))),
    );
    return this.op.constant(values, [this.tokens, 1, 1]);
  }

  /** DiffLlama: every head sees the first half of the value heads and the second, side by side. */
  private bothHalves(v_TKH: N): N {
    const heads = v_TKH.shape[1]!;
    const half = (begin: number) => {
      const part = this.op.slice(v_TKH, 1, begin, begin + heads / 2);
      return this.op.concat([part, part], 1);
    };
    return this.op.concat([half(0), half(heads / 2)], 2);
  }

  /** (1 − λ₀) · norm(first heads − λ · last heads), λ = exp(q₁·k₁) − exp(q₂·k₂) + λ₀, λ₀ = 0.8 − 0.6 exp(−0.3 l). */
  private difference(mixed_TNC: N, module: string, l: number): N {
    const { op } = this;
    const heads = mixed_TNC.shape[1]!;
    const initial = 0.8 - 0.6 * Math.exp(-0.3 * l);
    const dot = (i: number) => {
      const [q, k] = [this.weight(`${module}.lambda_q${i}`), this.weight(`${module}.lambda_k${i}`)];
      const size = q.shape[0]!;
      return op.map("exp", op.linear(op.reshape(op.mul(q, k), [1, size]), op.reshape(this.fill(1, size), [1, size])));
    };
    const lambda = op.reshape(op.affine(op.add(dot(1), op.affine(dot(2), -1)), 1, initial), [1, 1, 1]);
    const first = op.slice(mixed_TNC, 1, 0, heads / 2);
    const last = op.slice(mixed_TNC, 1, heads / 2, heads);
    const rest = op.add(first, op.affine(op.mul(last, lambda), -1));
    return op.affine(op.rmsNorm(rest, null, this.model.norm.eps), 1 - initial);
  }

  mlp(x_TD: N, module: string): N {
    const { op } = this;
    const { kind, into, down, bias, subNorm, activation } = this.model.mlp;
    const at = (name: string) => `${module}.${name}`;
    const activated = (x: N) => activate(op, this.weight, activation, x, at("act_fn"));
    const first = this.linear(x_TD, at(into[0]!), bias);
    const inner = () => {
      if (kind === "plain") return activated(first);
      const width = first.shape[1]! / 2;
      const [gate_TF, up_TF] =
        kind === "gated"
          ? [first, this.linear(x_TD, at(into[1]!), bias)]
          : [op.slice(first, 1, 0, width), op.slice(first, 1, width, 2 * width)];
      return op.mul(activated(gate_TF), up_TF);
    };
    const inner_TF = inner();
    const normed_TF = subNorm === null ? inner_TF : this.norm(this.model.norm, inner_TF, at(subNorm));
    return this.linear(normed_TF, at(down), bias);
  }
}

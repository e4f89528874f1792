// Ops that go through the tokens in their order.
import type { Ops } from "../../graph.ts";
import { causalConvShape, deltaRuleShape } from "../../ops/sequence.ts";
import type { Values } from "../memory.ts";
import type { JsNode } from "../node.ts";
import type { Recording } from "../recording.ts";

/** y[t, c] = Σⱼ w[c, j] · x[t − (W − 1) + j, c]. */
function causalConv(x: Values, weight: Values, channels: number, out: Values): void {
  const width = weight.length / channels;
  for (let at = 0; at < x.length; at++) {
    const c = at % channels;
    let sum = 0;
    for (let j = 0; j < width; j++) {
      const from = at - (width - 1 - j) * channels;
      if (from >= 0) sum += weight[c * width + j]! * x[from]!;
    }
    out[at] = sum;
  }
}

interface DeltaRuleSizes {
  readonly T: number;
  /** Heads of queries and keys. */
  readonly K: number;
  /** Heads of values, a multiple of K. */
  readonly N: number;
  readonly H: number;
  readonly C: number;
}

interface DeltaRuleOperands {
  readonly q: Values;
  readonly k: Values;
  readonly v: Values;
  readonly decay: Values;
  readonly beta: Values;
}

/** The recurrence as it is defined (arXiv:2412.06464 eq. 10), head by head and token by token. */
function deltaRule({ q, k, v, decay, beta }: DeltaRuleOperands, { T, K, N, H, C }: DeltaRuleSizes, out: Values): void {
  const state = new Float64Array(H * C);
  const update = new Float64Array(C);
  const row = new Float64Array(C);
  for (let n = 0; n < N; n++) {
    state.fill(0);
    const group = Math.floor(n / (N / K));
    for (let t = 0; t < T; t++) {
      const key = (t * K + group) * H;
      const value = (t * N + n) * C;
      const keep = Math.exp(decay[t * N + n]!);
      for (let i = 0; i < state.length; i++) state[i]! *= keep;
      // u = beta · (v − Sᵀ k)
      for (let c = 0; c < C; c++) update[c] = v[value + c]!;
      for (let h = 0; h < H; h++) for (let c = 0; c < C; c++) update[c]! -= state[h * C + c]! * k[key + h]!;
      const rate = beta[t * N + n]!;
      for (let c = 0; c < C; c++) update[c]! *= rate;
      // S ← S + k uᵀ, o = Sᵀ q
      row.fill(0);
      for (let h = 0; h < H; h++) {
        for (let c = 0; c < C; c++) {
          state[h * C + c]! += k[key + h]! * update[c]!;
          row[c]! += state[h * C + c]! * q[key + h]!;
        }
      }
      out.set(row, value);
    }
  }
}

export function sequential<V extends Values>(backend: Recording<V>): Pick<Ops<JsNode<V>>, "causalConv" | "deltaRule"> {
  const values = (x: JsNode<V>) => backend.values(x);
  return {
    causalConv: (x, weight) =>
      backend.record(causalConvShape(x, weight), [x, weight], (out) =>
        causalConv(values(x), values(weight), x.shape[1]!, out),
      ),
    deltaRule: (q, k, v, decay, beta) =>
      backend.record(deltaRuleShape(q, k, v, decay, beta), [q, k, v, decay, beta], (out) => {
        const sizes = { T: q.shape[0]!, K: q.shape[1]!, N: v.shape[1]!, H: q.shape[2]!, C: v.shape[2]! };
        deltaRule({ q: values(q), k: values(k), v: values(v), decay: values(decay), beta: values(beta) }, sizes, out);
      }),
  };
}

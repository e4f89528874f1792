import type { AttentionOptions, Ops } from "../graph.ts";
import { visiblePairs } from "../visible.ts";
import { given, type Interpret, mismatch, type Operand, rank, type Shape } from "./call.ts";

export function attentionShape(
  q: Operand,
  k: Operand,
  v: Operand,
  { mask, sinks_N }: AttentionOptions<Operand>,
): Shape {
  const [tokens, heads, channels] = rank("attention", q, 3);
  const kvHeads = rank("attention", k, 3)[1]!;
  if (k.shape[0] !== tokens || k.shape[2] !== channels || heads! % kvHeads !== 0) {
    mismatch("attention", k, `keys [${tokens}, a divisor of ${heads}, ${channels}]`);
  }
  if (v.shape.length !== 3 || v.shape[0] !== tokens || v.shape[1] !== kvHeads) {
    mismatch("attention", v, `values [${tokens}, ${kvHeads}, channels]`);
  }
  if (sinks_N && (sinks_N.shape.length !== 1 || sinks_N.shape[0] !== heads)) {
    mismatch("attention", sinks_N, `sinks [${heads}]`);
  }
  if (mask.kind === "segments" && mask.lengths.reduce((sum, n) => sum + n, 0) !== tokens) {
    throw new Error(`segments of ${mask.lengths.join(" + ")} tokens do not make ${tokens}`);
  }
  return [tokens!, heads!, v.shape[2]!];
}

export const attentions = <X extends Operand>(made: Interpret<X>): Pick<Ops<X>, "attention"> => ({
  attention: (q, k, v, options) => {
    const { sinks_N, ...rest } = options;
    return made({
      name: "attention",
      inputs: given(q, k, v, sinks_N),
      params: [rest],
      shape: () => attentionShape(q, k, v, options),
      // q · k and the share of v, for each pair of tokens that see each other.
      flops: ([tokens, heads]) => heads! * visiblePairs(tokens!, rest.mask) * 2 * (q.shape[2]! + v.shape[2]!),
      byRow: false,
      again: (op, [query, key, value, sinks]) => op.attention(query!, key!, value!, { ...rest, sinks_N: sinks }),
    });
  },
});

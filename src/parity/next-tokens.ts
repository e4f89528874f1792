/** A likely next token. */
export interface NextToken {
  readonly id: number;
  /** softmax of the logits, in f64. */
  readonly probability: number;
}

/** What each side would say after the last token: the five likeliest, most likely first. */
export interface NextTokens {
  readonly a: readonly NextToken[];
  readonly b: readonly NextToken[];
}

const SHOWN = 5;

/** @param logits_V of one position */
export function nextTokens(logits_V: Float32Array | Float64Array): NextToken[] {
  let top = Number.NEGATIVE_INFINITY;
  for (const logit of logits_V) top = Math.max(top, logit);
  let sum = 0;
  for (const logit of logits_V) sum += Math.exp(logit - top);
  const best: number[] = [];
  for (const [id, logit] of logits_V.entries()) {
    if (best.length === SHOWN && !(logit > logits_V[best[SHOWN - 1]!]!)) continue;
    const at = best.findIndex((other) => logit > logits_V[other]!);
    best.splice(at < 0 ? best.length : at, 0, id);
    best.length = Math.min(best.length, SHOWN);
  }
  return best.map((id) => ({ id, probability: Math.exp(logits_V[id]! - top) / sum }));
}

// The measures that compare two sets of logits. KL is KL(reference ‖ candidate) in nats per token, its softmax in f64,
// averaged over tokens and never divided by the vocabulary.
import {
  type Inputs,
  LogitRows,
  type Metrics,
  type NonFinite,
  type Positions,
  type PromptMetrics,
  place,
  type RowRange,
} from "./logit-rows.ts";
import { type LogitSample, LogitSampler, type TokenPair, tokenPairs } from "./pictured.ts";

export type { Metrics, NonFinite, Positions, PromptMetrics } from "./logit-rows.ts";

type Values = Float32Array | Float64Array;

/** Collects rows of logits, in order of position, input after input; needs only a block of rows at a time. */
export class LogitComparison {
  private readonly inputs: Inputs;
  private readonly numbers;
  private done = 0;
  private firstNonFinite: NonFinite | null = null;
  private nonFinitePositions = 0;
  private readonly sampler: LogitSampler;
  private worst: { readonly klNats: number; readonly tokens: readonly TokenPair[] } = { klNats: -1, tokens: [] };

  /**
   * @param ids of all inputs, one behind the other
   * @param starts where in `ids` each input begins
   * @param range the rows that are added: all of them, or a part of a run
   */
  constructor(
    private readonly ids: readonly number[],
    private readonly vocab: number,
    starts: readonly number[] = [0],
    private readonly range: RowRange = { begin: 0, end: ids.length },
  ) {
    this.inputs = { starts, rows: ids.length };
    this.numbers = LogitRows.numbersFor(range.end - range.begin);
    this.sampler = new LogitSampler(ids.length, vocab, range.begin);
  }

  /** Adds the next rows: both are row-major [rows, V]. */
  add(reference: Values, candidate: Values): void {
    for (let begin = 0; begin < reference.length; begin += this.vocab) {
      const end = begin + this.vocab;
      this.addRow(reference.subarray(begin, end), candidate.subarray(begin, end), this.done++);
    }
  }

  /** What was collected so far. */
  rows(): LogitRows {
    const { inputs, range, numbers, worst } = this;
    return new LogitRows(inputs, range, numbers, { worst, nonFinite: this.nonFinite(), sample: this.sample() });
  }

  metrics(): Metrics {
    return this.rows().metrics();
  }

  /** KL of a row, in nats. */
  klAt(row: number): number {
    return this.numbers.kl[row - this.range.begin]!;
  }

  /** Each input on its own. */
  prompts(): PromptMetrics[] {
    return this.rows().prompts();
  }

  /** √(Σ(candidate − reference)² / Σ reference²) over all logits. */
  relativeRms(): number {
    return this.rows().relativeRms();
  }

  /** The first logit that is NaN or infinite, and the number of positions that have any. */
  nonFinite(): { readonly first: NonFinite; readonly positions: number } | null {
    return this.firstNonFinite && { first: this.firstNonFinite, positions: this.nonFinitePositions };
  }

  positions(limitNats: number): Positions {
    return this.rows().positions(limitNats);
  }

  /** Logits of both sides, a few of them: what a picture shows. */
  sample(): LogitSample {
    return this.sampler.sample();
  }

  /** @param at index among the rows that are added */
  private addRow(reference: Values, candidate: Values, at: number): void {
    const row = this.range.begin + at;
    const { numbers } = this;
    this.checkFinite(reference, candidate, row);
    const [p, q] = [logSumExp(reference), logSumExp(candidate)];
    let [kl, most, apart] = [0, 0, 0];
    let [dot, pp, qq] = [0, 0, 0];
    for (let v = 0; v < reference.length; v++) {
      const [a, b] = [reference[v]!, candidate[v]!];
      kl += Math.exp(a - p) * (a - p - (b - q));
      most = Math.max(most, Math.abs(a - b));
      apart += (a - b) ** 2;
      dot += a * b;
      pp += a * a;
      qq += b * b;
    }
    numbers.kl[at] = kl;
    numbers.maxAbsDiff[at] = most;
    numbers.squaredDifference[at] = apart;
    numbers.squaredReference[at] = pp;
    numbers.cosine[at] = pp === 0 && qq === 0 ? 1 : dot / Math.sqrt(pp * qq || Number.MIN_VALUE);
    const next = this.inputs.starts.includes(row + 1) ? undefined : this.ids[row + 1];
    if (next !== undefined) numbers.deltaNll[at] = q - candidate[next]! - (p - reference[next]!);
    const [a, b] = this.compareTops(reference, candidate, at);
    this.sampler.addRow(row, reference, candidate, a[0]!);
    // A maximum that meets NaN is NaN; nothing tells what is likely there.
    if (kl > this.worst.klNats) {
      this.worst = { klNats: kl, tokens: tokenPairs([reference, candidate], [p, q], [...a, ...b]) };
    } else if (Number.isNaN(kl)) this.worst = { klNats: Number.POSITIVE_INFINITY, tokens: [] };
  }

  private compareTops(reference: Values, candidate: Values, at: number): readonly [number[], number[]] {
    const { numbers } = this;
    const [a, b] = [largestTokens(reference, 5), largestTokens(candidate, 5)];
    numbers.tops.set([a[0]!, b[0]!], 2 * at);
    const one = agreement(reference, candidate, a.slice(0, 1), b.slice(0, 1));
    const five = agreement(reference, candidate, a, b);
    numbers.sameTop[at] = one.shared;
    numbers.sameTop5[at] = five.shared / a.length;
    numbers.tied[at] = one.tied || five.tied ? 1 : 0;
    return [a, b];
  }

  private checkFinite(reference: Values, candidate: Values, row: number): void {
    const bad = (values: Values) => values.findIndex((x) => !Number.isFinite(x));
    for (const [side, values] of [
      ["reference", reference],
      ["candidate", candidate],
    ] as const) {
      const token = bad(values);
      if (token < 0) continue;
      this.firstNonFinite ??= { side, ...place(this.inputs, row), token, value: String(values[token]) };
      this.nonFinitePositions++;
      return;
    }
  }
}

/** ln Σ eˣ in f64. */
function logSumExp(row: Values): number {
  let top = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < row.length; i++) top = Math.max(top, row[i]!);
  let sum = 0;
  for (let i = 0; i < row.length; i++) sum += Math.exp(row[i]! - top);
  return top + Math.log(sum);
}

/** Indices of the `count` largest values, largest first, the lower index first among equals. */
function largestTokens(row: Values, count: number): number[] {
  const found: number[] = [];
  for (let v = 0; v < row.length; v++) {
    if (found.length === count && !(row[v]! > row[found[count - 1]!]!)) continue;
    let at = found.length;
    while (at > 0 && row[v]! > row[found[at - 1]!]!) at--;
    found.splice(at, 0, v);
    if (found.length > count) found.pop();
  }
  return found;
}

/**
 * Tokens that both sets hold. One that only the candidate chose counts as well if it ties with the reference's last
 * choice, or if the reference's lost one ties with the candidate's last.
 */
function agreement(
  reference: Values,
  candidate: Values,
  a: readonly number[],
  b: readonly number[],
): { readonly shared: number; readonly tied: boolean } {
  const added = b.filter((token) => !a.includes(token));
  const lost = a.filter((token) => !b.includes(token));
  const tied = Math.max(
    added.filter((token) => reference[token] === reference[a.at(-1)!]).length,
    lost.filter((token) => candidate[token] === candidate[b.at(-1)!]).length,
  );
  return { shared: a.length - added.length + tied, tied: tied > 0 };
}

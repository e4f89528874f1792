// The measures that compare two sets of logits. KL is KL(reference ‖ candidate) in nats per token, its softmax in f64,
// averaged over tokens and never divided by the vocabulary.

import { type KlBins, klBins, type LogitSample, LogitSampler, type TokenPair, tokenPairs } from "./pictured.ts";

type Values = Float32Array | Float64Array;

export interface Metrics {
  readonly tokens: number;
  readonly klMeanNats: number;
  readonly klP95Nats: number;
  readonly klP99Nats: number;
  readonly klMaxNats: number;
  /** Share of positions whose largest logit is the same token's. */
  readonly top1: number;
  /** Mean overlap of the five largest logits, as a fraction of five. */
  readonly top5: number;
  /** Positions where logits equal to the last choice's were counted as agreement. */
  readonly ties: number;
  readonly maxAbsDiff: number;
  readonly cosineMin: number;
  /** Mean over positions of NLL(candidate) − NLL(reference) of the next token; null where no token has a next. */
  readonly deltaNllMean: number | null;
}

/** A logit that is NaN or infinite. */
export interface NonFinite {
  readonly side: "reference" | "candidate";
  /** Of several inputs, which; positions are counted within it. */
  readonly prompt?: number;
  readonly position: number;
  readonly token: number;
  readonly value: string;
}

export interface Band {
  /** Positions [begin, end). */
  readonly begin: number;
  readonly end: number;
  readonly klMeanNats: number;
  readonly klMaxNats: number;
}

export interface Positions {
  /** Bands of positions that double in width: an error of the rotary embedding is zero at position 0 and grows. */
  readonly bands: readonly Band[];
  /** For a picture: more of them, of equal width. */
  readonly bins: KlBins;
  readonly worst: {
    /** Of several inputs, which; positions are counted within it. */
    readonly prompt?: number;
    readonly position: number;
    readonly klNats: number;
    readonly referenceTop: number;
    readonly candidateTop: number;
    /** The five likeliest of each side, in the reference's order; empty where a side has logits that are no numbers. */
    readonly tokens: readonly TokenPair[];
  };
  /** Smallest position whose KL is above the limit on the mean; null if there is none. */
  readonly firstOver: number | null;
}

/** One of several inputs on its own. */
export type PromptMetrics = Pick<Metrics, "tokens" | "klMeanNats" | "klMaxNats" | "top1">;

/** Collects rows of logits, in order of position, input after input; needs only a block of rows at a time. */
export class LogitComparison {
  private readonly kl: Float64Array;
  private readonly tops: Int32Array;
  private readonly sameTop: Uint8Array;
  private rows = 0;
  private overlap = 0;
  private ties = 0;
  private maxAbsDiff = 0;
  private cosineMin = Number.POSITIVE_INFINITY;
  private deltaNll = 0;
  private squaredDifference = 0;
  private squaredReference = 0;
  private firstNonFinite: NonFinite | null = null;
  private nonFinitePositions = 0;
  private readonly sampler: LogitSampler;
  private worst: { readonly klNats: number; readonly tokens: readonly TokenPair[] } = { klNats: -1, tokens: [] };

  /**
   * @param ids of all inputs, one behind the other
   * @param starts where in `ids` each input begins
   */
  constructor(
    private readonly ids: readonly number[],
    private readonly vocab: number,
    private readonly starts: readonly number[] = [0],
  ) {
    this.kl = new Float64Array(ids.length);
    this.tops = new Int32Array(2 * ids.length);
    this.sameTop = new Uint8Array(ids.length);
    this.sampler = new LogitSampler(ids.length, vocab);
  }

  /** Adds the next rows: both are row-major [rows, V]. */
  add(reference: Values, candidate: Values): void {
    for (let begin = 0; begin < reference.length; begin += this.vocab) {
      const end = begin + this.vocab;
      this.addRow(reference.subarray(begin, end), candidate.subarray(begin, end), this.rows++);
    }
  }

  metrics(): Metrics {
    const sorted = this.kl.slice().sort();
    const n = this.rows;
    return {
      tokens: n,
      klMeanNats: mean(this.kl),
      klP95Nats: percentile(sorted, 0.95),
      klP99Nats: percentile(sorted, 0.99),
      klMaxNats: sorted.at(-1)!,
      top1: total(this.sameTop) / n,
      top5: this.overlap / n,
      ties: this.ties,
      maxAbsDiff: this.maxAbsDiff,
      cosineMin: this.cosineMin,
      deltaNllMean: n > this.starts.length ? this.deltaNll / (n - this.starts.length) : null,
    };
  }

  /** KL of a row, in nats. */
  klAt(row: number): number {
    return this.kl[row]!;
  }

  /** Each input on its own. */
  prompts(): PromptMetrics[] {
    return this.starts.map((begin, prompt) => {
      const end = this.starts[prompt + 1] ?? this.rows;
      const kl = this.kl.subarray(begin, end);
      const top1 = total(this.sameTop.subarray(begin, end)) / kl.length;
      return { tokens: kl.length, klMeanNats: mean(kl), klMaxNats: kl.reduce(largest), top1 };
    });
  }

  /** √(Σ(candidate − reference)² / Σ reference²) over all logits. */
  relativeRms(): number {
    return this.squaredDifference === 0 ? 0 : Math.sqrt(this.squaredDifference / this.squaredReference);
  }

  /** The first logit that is NaN or infinite, and the number of positions that have any. */
  nonFinite(): { readonly first: NonFinite; readonly positions: number } | null {
    return this.firstNonFinite && { first: this.firstNonFinite, positions: this.nonFinitePositions };
  }

  positions(limitNats: number): Positions {
    const prompts = this.starts.map((begin, i) => this.kl.subarray(begin, this.starts[i + 1] ?? this.rows));
    const longest = prompts.reduce((most, { length }) => Math.max(most, length), 0);
    const bands: Band[] = [];
    for (let begin = 0, end = 1; begin < longest; begin = end, end = Math.min(2 * end, longest)) {
      const kl = Float64Array.from(prompts.flatMap((prompt) => [...prompt.subarray(begin, end)]));
      bands.push({ begin, end, klMeanNats: mean(kl), klMaxNats: kl.reduce(largest) });
    }
    const most = this.kl.reduce(largest);
    // `indexOf` finds no NaN.
    const row = Math.max(0, Number.isNaN(most) ? this.kl.findIndex(Number.isNaN) : this.kl.indexOf(most));
    const over = prompts.map((kl) => kl.findIndex((x) => !(x <= limitNats))).filter((position) => position >= 0);
    return {
      bands,
      bins: klBins(prompts),
      worst: {
        ...this.place(row),
        klNats: this.kl[row]!,
        referenceTop: this.tops[2 * row]!,
        candidateTop: this.tops[2 * row + 1]!,
        tokens: this.worst.tokens,
      },
      firstOver: over.length === 0 ? null : over.reduce((least, position) => Math.min(least, position)),
    };
  }

  /** Logits of both sides, a few of them: what a picture shows. */
  sample(): LogitSample {
    return this.sampler.sample();
  }

  /** Which input a row is of, if there are several, and where in it. */
  private place(row: number): { readonly prompt?: number; readonly position: number } {
    const prompt = this.starts.findLastIndex((begin) => begin <= row);
    return { ...(this.starts.length > 1 ? { prompt } : {}), position: row - this.starts[prompt]! };
  }

  private addRow(reference: Values, candidate: Values, row: number): void {
    this.checkFinite(reference, candidate, row);
    const [p, q] = [logSumExp(reference), logSumExp(candidate)];
    let kl = 0;
    let [dot, pp, qq] = [0, 0, 0];
    for (let v = 0; v < reference.length; v++) {
      const [a, b] = [reference[v]!, candidate[v]!];
      kl += Math.exp(a - p) * (a - p - (b - q));
      this.maxAbsDiff = Math.max(this.maxAbsDiff, Math.abs(a - b));
      this.squaredDifference += (a - b) ** 2;
      dot += a * b;
      pp += a * a;
      qq += b * b;
    }
    this.squaredReference += pp;
    this.kl[row] = kl;
    const cosine = pp === 0 && qq === 0 ? 1 : dot / Math.sqrt(pp * qq || Number.MIN_VALUE);
    this.cosineMin = Math.min(this.cosineMin, cosine);
    const next = this.starts.includes(row + 1) ? undefined : this.ids[row + 1];
    if (next !== undefined) this.deltaNll += q - candidate[next]! - (p - reference[next]!);
    const [a, b] = this.compareTops(reference, candidate, row);
    this.sampler.addRow(row, reference, candidate, a[0]!);
    // As `largest` has it, NaN is the most there can be; nothing tells what is likely there.
    if (kl > this.worst.klNats) {
      this.worst = { klNats: kl, tokens: tokenPairs([reference, candidate], [p, q], [...a, ...b]) };
    } else if (Number.isNaN(kl)) this.worst = { klNats: Number.POSITIVE_INFINITY, tokens: [] };
  }

  private compareTops(reference: Values, candidate: Values, row: number): readonly [number[], number[]] {
    const [a, b] = [largestTokens(reference, 5), largestTokens(candidate, 5)];
    this.tops.set([a[0]!, b[0]!], 2 * row);
    const one = agreement(reference, candidate, a.slice(0, 1), b.slice(0, 1));
    const five = agreement(reference, candidate, a, b);
    this.sameTop[row] = one.shared;
    this.overlap += five.shared / a.length;
    if (one.tied || five.tied) this.ties++;
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
      this.firstNonFinite ??= { side, ...this.place(row), token, value: String(values[token]) };
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

function total(values: Float64Array | Uint8Array): number {
  let sum = 0;
  for (const x of values) sum += x;
  return sum;
}

const mean = (values: Float64Array): number => total(values) / values.length;
/** NaN wins: a maximum that hides one would pass for a number. */
const largest = (a: number, b: number): number => Math.max(a, b);

/** Linear interpolation between closest ranks, as numpy's default. */
function percentile(sorted: Float64Array, q: number): number {
  const rank = q * (sorted.length - 1);
  const below = Math.floor(rank);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below]! + (rank - below) * (sorted[above]! - sorted[below]!);
}

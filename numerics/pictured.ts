// What a picture of two sets of logits needs, in bounded size however many there are: KL along positions, the likeliest tokens
// at one position, and a sample of logits. Numbers are rounded to what a picture can show.

type Values = Float32Array | Float64Array;

/** KL in nats, of positions [i·width, (i + 1)·width) at index i; the last may be fewer. */
export interface KlBins {
  readonly width: number;
  readonly klMedianNats: readonly number[];
  readonly klMaxNats: readonly number[];
}

/** Logits of one token on both sides, at the same index. */
export interface LogitPairs {
  readonly reference: readonly number[];
  readonly candidate: readonly number[];
}

export interface LogitSample {
  /** Of positions and tokens all over. */
  readonly spread: LogitPairs;
  /** Of the reference's likeliest token, at positions all over. */
  readonly likeliest: LogitPairs;
}

/** A token that is among the likeliest of a side at some position, and its probability on both. */
export interface TokenPair {
  readonly id: number;
  readonly reference: number;
  readonly candidate: number;
}

/** Wider than a page has columns of dots to tell apart. */
const BINS = 256;
const SPREAD = 300;
const LIKELIEST = 100;

const rounded = (x: number): number => (Number.isFinite(x) ? Number(x.toPrecision(4)) : x);

/**
 * @param longest positions of the longest input
 * @param between KL at positions [begin, end) of every input: those at the same position of several fall into the same bin
 */
export function klBins(longest: number, between: (begin: number, end: number) => Float64Array): KlBins {
  const width = Math.max(1, Math.ceil(longest / BINS));
  const bins = Array.from({ length: Math.ceil(longest / width) }, (_, i) => between(i * width, (i + 1) * width).sort());
  return {
    width,
    // Sorting puts NaN last: a bin that has one shows it. One without a position has no number.
    klMedianNats: bins.map((sorted) => rounded(sorted[(sorted.length - 1) >> 1] ?? Number.NaN)),
    klMaxNats: bins.map((sorted) => rounded(sorted.at(-1) ?? Number.NaN)),
  };
}

/** Takes one logit of each stretch of all of them, at a place that depends on nothing but their number. */
export class LogitSampler {
  private readonly spread = { reference: [] as number[], candidate: [] as number[] };
  private readonly likeliest = { reference: [] as number[], candidate: [] as number[] };
  private readonly stretch: number;
  private readonly rowsApart: number;
  /** How many stretches, and how many of the rows whose likeliest token is shown, lie behind. */
  private stretches = 0;
  private shown = 0;

  /** @param first the row that comes first: a part of a run samples what the whole of it would there */
  constructor(
    rows: number,
    private readonly vocab: number,
    first = 0,
  ) {
    this.stretch = Math.max(1, (rows * vocab) / SPREAD);
    this.rowsApart = Math.max(1, rows / LIKELIEST);
    while (this.placeOf(this.stretches) < first * vocab) this.stretches++;
    while (this.shown < LIKELIEST && Math.floor(this.shown * this.rowsApart) < first) this.shown++;
  }

  /** Rows come in order. @param top the reference's likeliest token */
  addRow(row: number, reference: Values, candidate: Values, top: number): void {
    const end = (row + 1) * this.vocab;
    for (; this.placeOf(this.stretches) < end; this.stretches++) {
      add(this.spread, reference, candidate, this.placeOf(this.stretches) - row * this.vocab);
    }
    if (row < Math.floor(this.shown * this.rowsApart) || this.shown === LIKELIEST) return;
    add(this.likeliest, reference, candidate, top);
    this.shown++;
  }

  sample(): LogitSample {
    return { spread: this.spread, likeliest: this.likeliest };
  }

  /** Somewhere in stretch `i`: at equal distances, a vocabulary that divides them would give the same token each time. */
  private placeOf(i: number): number {
    if (i >= SPREAD) return Number.POSITIVE_INFINITY;
    const share = (i * GOLDEN_RATIO) % 1;
    return Math.floor((i + share) * this.stretch);
  }
}

const GOLDEN_RATIO = (Math.sqrt(5) - 1) / 2;

function add(to: { reference: number[]; candidate: number[] }, reference: Values, candidate: Values, at: number): void {
  to.reference.push(rounded(reference[at]!));
  to.candidate.push(rounded(candidate[at]!));
}

/** @param logSums ln Σ eˣ of each side */
export function tokenPairs(
  [reference, candidate]: readonly [Values, Values],
  logSums: readonly [number, number],
  ids: readonly number[],
): TokenPair[] {
  const pairs = [...new Set(ids)].map((id) => ({
    id,
    reference: rounded(Math.exp(reference[id]! - logSums[0])),
    candidate: rounded(Math.exp(candidate[id]! - logSums[1])),
  }));
  return pairs.sort((a, b) => b.reference - a.reference || a.id - b.id);
}

// What a comparison of logits keeps of each position. Every figure is made of these, position after position: so figures of
// some positions here and others there are those of one comparison, to the last bit, once their rows are joined.
import { type KlBins, klBins, type LogitSample, type TokenPair } from "./pictured.ts";

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

/** Rows [begin, end) of all inputs' positions, one input behind another. */
export interface RowRange {
  readonly begin: number;
  readonly end: number;
}

/** Numbers of each row, by name: `tops` has two a row, the reference's likeliest token and the candidate's. */
export const ROW_NUMBERS = {
  kl: 1,
  tops: 2,
  sameTop: 1,
  sameTop5: 1,
  tied: 1,
  maxAbsDiff: 1,
  cosine: 1,
  /** NLL(candidate) − NLL(reference) of the next token; 0 at the last position of an input. */
  deltaNll: 1,
  squaredDifference: 1,
  squaredReference: 1,
} as const;
export type RowNumbers = Readonly<Record<keyof typeof ROW_NUMBERS, Float64Array>>;

export const ROW_NAMES: readonly (keyof typeof ROW_NUMBERS)[] = [
  "kl",
  "tops",
  "sameTop",
  "sameTop5",
  "tied",
  "maxAbsDiff",
  "cosine",
  "deltaNll",
  "squaredDifference",
  "squaredReference",
];

/** What is not there for every row. */
export interface RowNotes {
  readonly worst: { readonly klNats: number; readonly tokens: readonly TokenPair[] };
  readonly nonFinite: { readonly first: NonFinite; readonly positions: number } | null;
  readonly sample: LogitSample;
}

/** The row where each input begins among those of all, and the row behind the last. */
export interface Inputs {
  readonly starts: readonly number[];
  readonly rows: number;
}

export class LogitRows {
  constructor(
    readonly inputs: Inputs,
    readonly range: RowRange,
    readonly numbers: RowNumbers,
    readonly notes: RowNotes,
  ) {}

  static numbersFor(rows: number): Record<keyof typeof ROW_NUMBERS, Float64Array> {
    const of = (name: keyof typeof ROW_NUMBERS) => new Float64Array(rows * ROW_NUMBERS[name]);
    return {
      kl: of("kl"),
      tops: of("tops"),
      sameTop: of("sameTop"),
      sameTop5: of("sameTop5"),
      tied: of("tied"),
      maxAbsDiff: of("maxAbsDiff"),
      cosine: of("cosine"),
      deltaNll: of("deltaNll"),
      squaredDifference: of("squaredDifference"),
      squaredReference: of("squaredReference"),
    };
  }

  /** @param parts in order, each beginning where the one before it ends */
  static joined(parts: readonly LogitRows[]): LogitRows {
    const [first] = parts;
    const range = { begin: first!.range.begin, end: parts.at(-1)!.range.end };
    const numbers = LogitRows.numbersFor(range.end - range.begin);
    for (const part of parts) {
      for (const name of ROW_NAMES) {
        numbers[name].set(part.numbers[name], (part.range.begin - range.begin) * ROW_NUMBERS[name]);
      }
    }
    return new LogitRows(first!.inputs, range, numbers, joinedNotes(parts.map(({ notes }) => notes)));
  }

  get length(): number {
    return this.range.end - this.range.begin;
  }

  metrics(): Metrics {
    const { kl, sameTop, sameTop5, tied, maxAbsDiff, cosine, deltaNll } = this.numbers;
    const sorted = kl.slice().sort();
    const n = this.length;
    const followed = n - this.lastOfInputs();
    return {
      tokens: n,
      klMeanNats: mean(kl),
      klP95Nats: percentile(sorted, 0.95),
      klP99Nats: percentile(sorted, 0.99),
      klMaxNats: sorted.at(-1)!,
      top1: total(sameTop) / n,
      top5: total(sameTop5) / n,
      ties: total(tied),
      maxAbsDiff: maxAbsDiff.reduce(largest, 0),
      cosineMin: cosine.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY),
      deltaNllMean: followed > 0 ? total(deltaNll) / followed : null,
    };
  }

  /** Each input on its own. */
  prompts(): PromptMetrics[] {
    return this.inputs.starts.map((_, prompt) => {
      const [begin, end] = this.local(prompt, 0, Number.POSITIVE_INFINITY);
      const kl = this.numbers.kl.subarray(begin, end);
      const top1 = total(this.numbers.sameTop.subarray(begin, end)) / kl.length;
      return { tokens: kl.length, klMeanNats: mean(kl), klMaxNats: largestOf(kl), top1 };
    });
  }

  /** √(Σ(candidate − reference)² / Σ reference²) over all logits. */
  relativeRms(): number {
    const difference = total(this.numbers.squaredDifference);
    return difference === 0 ? 0 : Math.sqrt(difference / total(this.numbers.squaredReference));
  }

  positions(limitNats: number): Positions {
    const { kl, tops } = this.numbers;
    const ends = this.inputs.starts.map((_, prompt) => this.lastPosition(prompt) + 1);
    const longest = ends.reduce(largest, 0);
    const between = (begin: number, end: number) =>
      Float64Array.from(ends.flatMap((_, prompt) => [...kl.subarray(...this.local(prompt, begin, end))]));
    const bands: Band[] = [];
    for (let begin = 0, end = 1; begin < longest; begin = end, end = Math.min(2 * end, longest)) {
      const own = between(begin, end);
      if (own.length > 0) bands.push({ begin, end, klMeanNats: mean(own), klMaxNats: largestOf(own) });
    }
    const most = largestOf(kl);
    // `indexOf` finds no NaN.
    const at = Math.max(0, Number.isNaN(most) ? kl.findIndex(Number.isNaN) : kl.indexOf(most));
    const over = ends.flatMap((_, prompt) => this.firstOver(prompt, limitNats));
    return {
      bands,
      bins: klBins(longest, between),
      worst: {
        ...place(this.inputs, this.range.begin + at),
        klNats: kl[at]!,
        referenceTop: tops[2 * at]!,
        candidateTop: tops[2 * at + 1]!,
        tokens: this.notes.worst.tokens,
      },
      firstOver: over.length === 0 ? null : over.reduce((least, position) => Math.min(least, position)),
    };
  }

  private firstOver(prompt: number, limitNats: number): number[] {
    const [begin, end] = this.local(prompt, 0, Number.POSITIVE_INFINITY);
    const at = this.numbers.kl.subarray(begin, end).findIndex((x) => !(x <= limitNats));
    return at < 0 ? [] : [this.range.begin + begin + at - this.inputs.starts[prompt]!];
  }

  /** Indices in `numbers` of positions [begin, end) of an input, as far as they are among these rows. */
  private local(prompt: number, begin: number, end: number): [number, number] {
    const start = this.inputs.starts[prompt]!;
    const stop = this.inputs.starts[prompt + 1] ?? this.inputs.rows;
    const within = (row: number) => Math.min(Math.max(row - this.range.begin, 0), this.length);
    const [first, last] = [within(start + begin), within(Math.min(start + end, stop))];
    return [first, Math.max(first, last)];
  }

  private lastPosition(prompt: number): number {
    const stop = Math.min(this.inputs.starts[prompt + 1] ?? this.inputs.rows, this.range.end);
    return stop - 1 - this.inputs.starts[prompt]!;
  }

  /** How many of these rows are the last of an input. */
  private lastOfInputs(): number {
    const { begin, end } = this.range;
    const ends = this.inputs.starts.map((_, prompt) => this.inputs.starts[prompt + 1] ?? this.inputs.rows);
    return ends.filter((row) => begin < row && row <= end).length;
  }
}

/** Which input a row is of, if there are several, and where in it. */
export function place({ starts }: Inputs, row: number): { readonly prompt?: number; readonly position: number } {
  const prompt = starts.findLastIndex((begin) => begin <= row);
  return { ...(starts.length > 1 ? { prompt } : {}), position: row - starts[prompt]! };
}

function joinedNotes(parts: readonly RowNotes[]): RowNotes {
  const bad = parts.flatMap(({ nonFinite }) => nonFinite ?? []);
  const pairs = (name: keyof LogitSample) => ({
    reference: parts.flatMap(({ sample }) => sample[name].reference),
    candidate: parts.flatMap(({ sample }) => sample[name].candidate),
  });
  return {
    // Of equal ones the first, as when row follows row.
    worst: parts.map(({ worst }) => worst).reduce((most, worst) => (worst.klNats > most.klNats ? worst : most)),
    nonFinite:
      bad.length === 0
        ? null
        : { first: bad[0]!.first, positions: bad.reduce((sum, { positions }) => sum + positions, 0) },
    sample: { spread: pairs("spread"), likeliest: pairs("likeliest") },
  };
}

function total(values: Float64Array): number {
  let sum = 0;
  for (const x of values) sum += x;
  return sum;
}

const mean = (values: Float64Array): number => total(values) / values.length;
/** NaN wins: a maximum that hides one would pass for a number. */
const largest = (a: number, b: number): number => Math.max(a, b);
const largestOf = (values: Float64Array): number => values.reduce(largest, Number.NEGATIVE_INFINITY);

/** Linear interpolation between closest ranks, as numpy's default. */
function percentile(sorted: Float64Array, q: number): number {
  const rank = q * (sorted.length - 1);
  const below = Math.floor(rank);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below]! + (rank - below) * (sorted[above]! - sorted[below]!);
}

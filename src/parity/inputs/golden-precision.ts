// In which type a golden was computed. transformers computes in the type of the checkpoint unless it is told another: a
// bf16 forward pass leaves logits whose f32 has 16 zero low bits.
import type { RowRange } from "../../../numerics/logit-rows.ts";
import { LogitComparison } from "../../../numerics/metrics.ts";
import { cast } from "../../views/cast.ts";

export type Rounded = "BF16" | "F16";

/** Rows that are looked at: chance does not make so many values that a narrower type has. */
const ROWS = 64;

/**
 * The narrower type that has all of the first rows' values; null where there is none.
 * @param rows gives F32 logits of positions [begin, end)
 */
export function precisionOf(rows: (begin: number, end: number) => Float32Array, tokens: number): Rounded | null {
  let possible: readonly Rounded[] = ["BF16", "F16"];
  for (let row = 0; row < Math.min(tokens, ROWS) && possible.length > 0; row++) {
    const values = rows(row, row + 1);
    possible = possible.filter((type) => roundedTo(values, type).every((value, i) => Object.is(value, values[i])));
  }
  return possible[0] ?? null;
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array | Float64Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

function roundedTo(values: Float32Array | Float64Array, type: Rounded): Float32Array {
  const from = values instanceof Float32Array ? "F32" : "F64";
  return new Float32Array(cast(cast(bytesOf(values), from, type), type, "F32").buffer);
}

/** What rounding logits to a type alone makes of them: the least that a forward pass in that type costs. */
export class RoundingOfLogits {
  #comparison: LogitComparison;
  #done = 0;
  #range: RowRange;

  constructor(
    readonly type: Rounded,
    private readonly ids: readonly number[],
    private readonly vocab: number,
  ) {
    this.#range = { begin: 0, end: ids.length };
    this.#comparison = new LogitComparison(ids, vocab);
  }

  /** Of these rows, in a part of a run. Rows that were added before stay. */
  begin(range: RowRange): void {
    if (range.begin === this.#range.begin && range.end === this.#range.end) return;
    this.#range = range;
    this.#done = range.begin;
    this.#comparison = new LogitComparison(this.ids, this.vocab, [0], range);
  }

  /** Logits of rows from `first` on. Each row counts once, however often it is run. */
  add(first: number, end: number, logits: Float32Array | Float64Array): void {
    if (first !== this.#done) return;
    this.#comparison.add(roundedTo(logits, this.type), logits);
    this.#done = end;
  }

  /** Of each row, in nats. */
  get klNats(): Float64Array {
    return this.#comparison.rows().numbers.kl;
  }

  /** Nats per token; null before every row was added. */
  get klMeanNats(): number | null {
    const { begin, end } = this.#range;
    return this.#done === end && end > begin ? this.#comparison.metrics().klMeanNats : null;
  }
}

// Rows and columns that nothing was ever written to: all elements alike, side by side, as a rank's share lies.

/** A share of one in so many ranks, and the fewest rows or columns that tell a share from a dead neuron. */
const MOST_RANKS = 16;
const LEAST = 2;
/** Shorter rows are alike by chance. */
const LEAST_WIDTH = 4;
/** A smaller matrix of a stack is a kernel, of which some may be dead. */
const LEAST_MATRIX = 8;

/** Indices [begin, end) along an axis. */
export interface Share {
  readonly axis: "rows" | "columns";
  readonly begin: number;
  readonly end: number;
  readonly of: number;
}

/** Looks at the bits of a tensor, an element after the other, as rows of its last axis. */
export class Shares {
  readonly #rows: number;
  readonly #width: number;
  /** Rows of one matrix of a stack, such as an expert's; infinite where there is no stack. */
  readonly #matrix: number;
  /** First word of the row under way, and whether all so far are equal to it. */
  #first = 0;
  #flat = true;
  #run = 0;
  #longest: Share | null = null;
  /** Columns that are 0 in all rows so far; null once there is none. */
  #columns: Uint8Array | null;

  constructor(shape: readonly number[]) {
    this.#width = shape.at(-1) ?? 1;
    this.#rows = shape.slice(0, -1).reduce((product, size) => product * size, 1);
    const [stack = 1, rows = 1, width] = shape;
    this.#matrix = width !== undefined && shape.length === 3 && stack > 1 && rows >= LEAST_MATRIX ? rows : Infinity;
    this.#columns = this.#width < LEAST_WIDTH ? null : new Uint8Array(this.#width).fill(1);
  }

  /** @param first index of the first element; @param magnitude bits of a word without its sign */
  see(words: Uint32Array | Uint16Array, first: number, magnitude: number): void {
    const width = this.#width;
    if (width < LEAST_WIDTH || this.#rows < LEAST) return;
    for (let at = 0; at < words.length; ) {
      const column = (first + at) % width;
      const end = Math.min(words.length, at + width - column);
      if (column === 0) {
        this.#first = words[at]!;
        this.#flat = true;
      }
      if (this.#flat) for (let i = at; i < end && this.#flat; i++) this.#flat = words[i] === this.#first;
      if (this.#columns !== null) this.#seeColumns(words, at, end, column, magnitude);
      if (column + end - at === width) this.#endRow(Math.floor((first + at) / width));
      at = end;
    }
  }

  #seeColumns(words: Uint32Array | Uint16Array, at: number, end: number, column: number, magnitude: number): void {
    const columns = this.#columns!;
    for (let i = at; i < end; i++) if ((words[i]! & magnitude) !== 0) columns[column + i - at] = 0;
    if (end - at === columns.length && !columns.includes(1)) this.#columns = null;
  }

  #endRow(row: number): void {
    this.#run = this.#flat ? this.#run + 1 : 0;
    const longest = this.#longest === null ? 0 : this.#longest.end - this.#longest.begin;
    if (this.#run > longest) this.#longest = { axis: "rows", begin: row + 1 - this.#run, end: row + 1, of: this.#rows };
  }

  /** The largest share that is alike; null where none is as large as a rank's, or holds a matrix of a stack. */
  get found(): Share | null {
    const rows = this.#longest;
    if (rows !== null && rows.end < rows.of + rows.begin && this.#holdsMatrix(rows)) return rows;
    return [this.#longest, this.#zeroColumns()].find((share) => share !== null && isShare(share)) ?? null;
  }

  #holdsMatrix({ begin, end }: Share): boolean {
    const size = this.#matrix;
    return size < Infinity && (Math.ceil(begin / size) + 1) * size <= end;
  }

  #zeroColumns(): Share | null {
    let [longest, run] = [null as Share | null, 0];
    for (const [i, isZero] of this.#columns?.entries() ?? []) {
      run = isZero === 1 ? run + 1 : 0;
      if (run > (longest === null ? 0 : longest.end - longest.begin))
        longest = { axis: "columns", begin: i + 1 - run, end: i + 1, of: this.#width };
    }
    return longest;
  }
}

const isShare = ({ begin, end, of }: Share): boolean =>
  end - begin >= Math.max(LEAST, of / MOST_RANKS) && end - begin < of;

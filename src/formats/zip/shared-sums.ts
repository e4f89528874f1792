// What several threads see of the same records, each of a part of it: none of them alone can tell whether all is right.
import { type Crc32Piece, Crc32Pieces } from "../../base/crc32.ts";

/** By where a record lies. */
export type SeenRecords = readonly (readonly [place: string, pieces: readonly Crc32Piece[]])[];

export class SharedSums {
  readonly #own = new Map<string, Crc32Pieces>();
  readonly #found = new Map<string, Crc32Piece[]>();

  /** Where a record notes what it sees; null where nobody else could tell which one it is. */
  noted(place: string | null): Crc32Pieces | null {
    if (place === null) return null;
    const pieces = this.#own.get(place) ?? new Crc32Pieces();
    this.#own.set(place, pieces);
    return pieces;
  }

  /** What others found. */
  found(place: string | null): readonly Crc32Piece[] {
    return (place === null ? undefined : this.#found.get(place)) ?? [];
  }

  /** Takes what others noted. */
  take(seen: SeenRecords): void {
    for (const [place, pieces] of seen) this.#found.set(place, [...this.found(place), ...pieces]);
  }

  get seen(): SeenRecords {
    return [...this.#own].map(([place, { all }]) => [place, all] as const);
  }
}

let current: SharedSums | null = null;

export const sharedSums = (): SharedSums | null => current;

/** Records that are opened, or verified, by this synchronous call take part. */
export function sharing<T>(sums: SharedSums, run: () => T): T {
  const before = current;
  current = sums;
  try {
    return run();
  } finally {
    current = before;
  }
}

// Which weights a forward pass reads of a given input: all of a tensor, some rows of it, or only what a chosen expert takes.
import type { AttentionMask } from "../graph.ts";

/** Indices [begin, end) of a tensor's first axis. */
export interface WeightPart {
  readonly key: string;
  readonly begin: number;
  readonly end: number;
}

export interface MixtureReads {
  readonly name: string;
  /** What each expert reads, where a token chooses it. */
  readonly experts: readonly (readonly WeightPart[])[];
}

export interface Reads {
  /** Keys of tensors that are read whatever tokens choose. */
  readonly whole: ReadonlySet<string>;
  /** Rows that ids or positions pick, by key. A tied embedding is in `whole`, too. */
  readonly picked: ReadonlyMap<string, ReadonlySet<number>>;
  readonly mixtures: readonly MixtureReads[];
  /** What tokens see, of each attention. */
  readonly masks: readonly AttentionMask[];
}

/** Notes reads as a graph makes them. */
export class ReadLog implements Reads {
  readonly whole = new Set<string>();
  readonly picked = new Map<string, Set<number>>();
  readonly mixtures: { readonly name: string; readonly experts: WeightPart[][] }[] = [];
  readonly masks: AttentionMask[] = [];
  /** Of the expert whose ops are being made; null outside of experts. */
  private expert: WeightPart[] | null = null;

  read(part: WeightPart): void {
    if (this.expert === null) this.whole.add(part.key);
    else this.expert.push(part);
  }

  pick(key: string, rows: readonly number[]): void {
    const picked = this.picked.get(key) ?? new Set();
    for (const row of rows) picked.add(row);
    this.picked.set(key, picked);
  }

  /** @param make the ops of expert `e` */
  mixture(name: string, experts: number, make: (e: number) => void): void {
    const parts: WeightPart[][] = [];
    this.mixtures.push({ name, experts: parts });
    for (let e = 0; e < experts; e++) {
      const own: WeightPart[] = [];
      parts.push(own);
      this.expert = own;
      make(e);
    }
    this.expert = null;
  }
}

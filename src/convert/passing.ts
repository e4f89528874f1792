// Tensors of the seal that are written as they are hashed: which bytes of a target's tensors are theirs, and how far they came.
import type { TensorInfo } from "../formats/checkpoint.ts";

/** A tensor of the seal in one of the target. */
export interface Passenger {
  readonly id: number;
  readonly info: TensorInfo;
  /** Key of the target's. */
  readonly key: string;
  /** Its first byte there: an expert may be a part of a stack. */
  readonly begin: number;
  /** Whether it is all of it. */
  readonly isWhole: boolean;
}

type Travelling = Passenger & { done: number };

export class Passing {
  /** By key of the target, in ascending order. */
  readonly #in = new Map<string, Travelling[]>();

  constructor(passengers: Iterable<Passenger>) {
    for (const each of passengers) {
      const others = this.#in.get(each.key);
      if (others === undefined) this.#in.set(each.key, [{ ...each, done: 0 }]);
      else others.push({ ...each, done: 0 });
    }
    for (const list of this.#in.values()) list.sort((a, b) => a.begin - b.begin);
  }

  get all(): readonly Travelling[] {
    return [...this.#in.values()].flat();
  }

  /** Of all of them. */
  get bytes(): number {
    return this.all.reduce((sum, { info }) => sum + info.byteLength, 0);
  }

  /** Number of the one that is all of a tensor of the target. */
  wholeOf(key: string): number | undefined {
    const [only] = this.#in.get(key) ?? [];
    return only?.isWhole ? only.id : undefined;
  }

  /** Begins anew. */
  reset(): void {
    for (const each of this.all) each.done = 0;
  }

  /** Others do not pass by. */
  keep(isKept: (passenger: Passenger) => boolean): void {
    for (const [key, list] of this.#in) {
      const kept = list.filter(isKept);
      if (kept.length === 0) this.#in.delete(key);
      else this.#in.set(key, kept);
    }
  }

  /** Hands on, of bytes of a target's tensor, those that continue what passed before. */
  take(key: string, begin: number, bytes: Uint8Array, hand: (id: number, bytes: Uint8Array) => void): void {
    const list = this.#in.get(key);
    if (list === undefined) return;
    const end = begin + bytes.length;
    for (let i = firstAfter(list, begin); i < list.length && list[i]!.begin < end; i += 1) {
      const each = list[i]!;
      const from = Math.max(begin, each.begin);
      const to = Math.min(end, each.begin + each.info.byteLength);
      // From a run that was killed, or written twice: what did not pass whole is read again.
      if (each.done !== from - each.begin || to <= from) continue;
      hand(each.id, bytes.subarray(from - begin, to - begin));
      each.done += to - from;
    }
  }
}

/** Index of the first one that ends after a byte. */
function firstAfter(list: readonly Travelling[], byte: number): number {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const { begin, info } = list[middle]!;
    if (begin + info.byteLength <= byte) low = middle + 1;
    else high = middle;
  }
  return low;
}

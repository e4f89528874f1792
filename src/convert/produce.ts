// The bytes of a mapping's target tensors, made from its source by range.
import { type CastStats, castingRead, isFloat, newCastStats } from "./cast.ts";
import { Gatherer, type ReadBytes, type Sink } from "./gather.ts";
import type { MappedTensor, Mapping } from "./mapping.ts";
import type { TensorSource } from "./tensor-source.ts";

export class Producer {
  readonly #mapping: Mapping;
  readonly #gatherer: Gatherer;
  readonly #stats = new Map<string, CastStats>();

  /** The gatherer serves one producer at a time: producers that read from each other need one each. */
  constructor(mapping: Mapping, gatherer: Gatherer) {
    this.#mapping = mapping;
    this.#gatherer = gatherer;
  }

  /** Gives bytes [begin, end) of target tensor `key` to `sink`, in order; both ends fall between elements. */
  produce(key: string, range: readonly [begin: number, end: number], sink: Sink): void {
    const tensor = this.#mapping.tensors.get(key);
    if (tensor === undefined) throw new RangeError(`no tensor ${JSON.stringify(key)} is planned`);
    this.#gatherer.gather(tensor.move, tensor.info.dtype, range, this.#reader(tensor), sink);
  }

  /** What casts did so far, by target key. */
  get casts(): ReadonlyMap<string, CastStats> {
    return this.#stats;
  }

  #reader({ info, sources }: MappedTensor): ReadBytes {
    const { source } = this.#mapping;
    const read: ReadBytes = (key, begin, target) => source.read(key, begin, target);
    const to = info.dtype;
    if (sources.every((key) => source.tensors.get(key)!.dtype === to)) return read;
    const stats = this.#stats.get(info.key) ?? newCastStats();
    this.#stats.set(info.key, stats);
    const readers = new Map(
      sources.map((key) => {
        const from = source.tensors.get(key)!.dtype;
        if (!isFloat(from) || !isFloat(to)) throw new RangeError(`no cast from ${from} to ${to}`);
        return [key, from === to ? read : castingRead(read, from, to, stats)];
      }),
    );
    return (key, begin, target) => readers.get(key)!(key, begin, target);
  }
}

/** What a mapping would make of its source, read as if it were there. Its tensors must not be cast. */
export function virtualSource(mapping: Mapping): TensorSource {
  const producer = new Producer(mapping, new Gatherer());
  return {
    tensors: new Map([...mapping.tensors].map(([key, { info }]) => [key, info])),
    read(key, begin, target) {
      let at = 0;
      producer.produce(key, [begin, begin + target.length], (bytes) => {
        target.set(bytes, at);
        at += bytes.length;
      });
    },
  };
}

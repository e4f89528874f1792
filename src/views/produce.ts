// The bytes of a mapping's target tensors, made from its source by range.
import type { Dtype } from "../base/dtype.ts";
import { FLOAT_BYTES, type Float, isFloat } from "../base/floats.ts";
import { type CastStats, castingRead, castingSink, newCastStats } from "./cast.ts";
import { DEFAULT_BUFFER_BYTES, Gatherer, type ReadBytes, type Sink } from "./gather.ts";
import type { MappedTensor, Mapping } from "./mapping.ts";
import type { TensorSource } from "./tensor-source.ts";

export class Producer {
  readonly #mapping: Mapping;
  readonly #gatherer: Gatherer;
  readonly #stats = new Map<string, CastStats>();
  readonly #read: ReadBytes = (name, begin, target) => this.#mapping.source.read(name, begin, target);

  /** The gatherer serves one producer at a time: producers that read from each other need one each. */
  constructor(mapping: Mapping, gatherer: Gatherer) {
    this.#mapping = mapping;
    this.#gatherer = gatherer;
  }

  /** Gives bytes [begin, end) of target tensor `key` to `sink`, in order; both ends fall between elements. */
  produce(key: string, range: readonly [begin: number, end: number], sink: Sink): void {
    const tensor = this.#mapping.tensors.get(key);
    if (tensor === undefined) throw new RangeError(`no tensor ${JSON.stringify(key)} is planned`);
    const { move, info, sources } = tensor;
    const { source } = this.#mapping;
    const read = this.#read;
    const dtypes = new Set(sources.map((name) => source.tensors.get(name)!.dtype));
    const [from = info.dtype] = dtypes;
    if (dtypes.size > 1)
      this.#gatherer.gather(move, info.dtype, range, this.#castingRead(tensor, read), sink, { exact: true });
    else if (from === info.dtype) this.#gatherer.gather(move, from, range, read, sink);
    else {
      // Cast after the move: the stats then count exactly the target's elements.
      const pair = floats(from, info.dtype);
      const scale = FLOAT_BYTES[pair.from] / FLOAT_BYTES[pair.to];
      const cast = castingSink(sink, pair.from, pair.to, this.#statsOf(key), (n) => this.#gatherer.lend(n));
      this.#gatherer.gather(move, from, [range[0] * scale, range[1] * scale], read, cast);
    }
  }

  /** What casts did so far, by target key. */
  get casts(): ReadonlyMap<string, CastStats> {
    return this.#stats;
  }

  #statsOf(key: string): CastStats {
    const stats = this.#stats.get(key) ?? newCastStats();
    this.#stats.set(key, stats);
    return stats;
  }

  /** For sources of several types: each is cast as it is read. */
  #castingRead({ info, sources }: MappedTensor, read: ReadBytes): ReadBytes {
    const { tensors } = this.#mapping.source;
    const stats = this.#statsOf(info.key);
    const readers = new Map(
      sources.map((key) => {
        const dtype = tensors.get(key)!.dtype;
        if (dtype === info.dtype) return [key, read];
        const { from, to } = floats(dtype, info.dtype);
        return [key, castingRead(read, from, to, stats)];
      }),
    );
    return (key, begin, target) => readers.get(key)!(key, begin, target);
  }
}

function floats(from: Dtype, to: Dtype): { from: Float; to: Float } {
  if (!isFloat(from) || !isFloat(to)) throw new RangeError(`no cast from ${from} to ${to}`);
  return { from, to };
}

/**
 * The target tensors of a mapping as a tensor source: each is made when it is read. The mapping must not cast.
 * @param bufferBytes size of the working buffer. It is asked for at the first read, because a plan settles it last
 */
export function virtualSource(mapping: Mapping, bufferBytes: () => number = () => DEFAULT_BUFFER_BYTES): TensorSource {
  let producer: Producer | undefined;
  return {
    tensors: new Map([...mapping.tensors].map(([key, { info }]) => [key, info])),
    read(key, begin, target) {
      producer ??= new Producer(mapping, new Gatherer(bufferBytes()));
      let at = 0;
      producer.produce(key, [begin, begin + target.length], (bytes) => {
        target.set(bytes, at);
        at += bytes.length;
      });
    },
  };
}

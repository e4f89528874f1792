// The bytes of a target, made as they are asked for: shards from whole tensors, and what passes by is hashed.
import { bitsOf } from "../../base/dtype.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import type { Produce } from "../../output/write/file.ts";
import type { Sink } from "../../views/gather.ts";
import type { Producer } from "../../views/produce.ts";
import type { ConversionPlan } from "../plan.ts";
import { producingShards } from "../rank-files.ts";

/** @param onProduced told of each range of a tensor that was made */
export const producing = (plan: ConversionPlan, producer: Producer, onProduced: (key: string) => void): Produce =>
  producingShards(plan.shards, (key, first, end, sink) => {
    if (plan.mapping.tensors.has(key)) producer.produce(key, [first, end], watched(plan, key, first, sink));
    else copyRange(plan.source, key, [first, end], sink); // scales of what was decoded
    onProduced(key);
  });

/** For ranges whose ends may cut an element: what lies outside is made, and left out. */
export const producingAny =
  ({ mapping, shards }: ConversionPlan, produce: Produce): Produce =>
  (part, begin, end, sink) => {
    const info = mapping.tensors.get(shards.get(part)?.key ?? part)?.info;
    const width = info === undefined ? 1 : Math.ceil(bitsOf(info.dtype) / 8);
    const first = Math.floor(begin / width) * width;
    const last = Math.ceil(end / width) * width;
    if (first === begin && last === end) return produce(part, begin, end, sink);
    let at = first;
    produce(part, first, last, (bytes) => {
      const from = Math.min(bytes.length, Math.max(0, begin - at));
      const to = Math.max(from, Math.min(bytes.length, end - at));
      at += bytes.length;
      if (to > from) sink(bytes.subarray(from, to));
    });
  };

/** What passes by is hashed. */
function watched({ seal }: ConversionPlan, key: string, begin: number, sink: Sink): Sink {
  if (seal === null) return sink;
  let at = begin;
  return (bytes) => {
    seal.passed(key, at, bytes);
    at += bytes.length;
    sink(bytes);
  };
}

const COPY_BYTES = 1 << 20;

function copyRange(
  source: Pick<Checkpoint, "read">,
  key: string,
  [begin, end]: readonly [number, number],
  sink: Sink,
): void {
  for (let at = begin; at < end; at += COPY_BYTES) {
    const bytes = new Uint8Array(Math.min(COPY_BYTES, end - at));
    source.read(key, at, bytes);
    sink(bytes);
  }
}

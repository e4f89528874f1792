// The bytes of a target, made as they are asked for: shards from whole tensors, and what passes by is hashed.
import type { Blocks } from "../../base/threads/blocks.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import type { Produce } from "../../output/write/file.ts";
import type { Sink } from "../../views/gather.ts";
import type { Producer } from "../../views/produce.ts";
import type { ConversionPlan } from "../plan.ts";
import { producingShards } from "../rank-files.ts";

/**
 * @param blocks that threads take bytes from
 * @param onProduced told of each range of a tensor that was made
 */
export const producing = (
  plan: ConversionPlan,
  producer: Producer,
  blocks: Blocks | undefined,
  onProduced: (key: string) => void,
): Produce =>
  producingShards(plan.shards, (key, first, end, sink) => {
    const seen = watched(plan, key, first, sink);
    // Once, for whoever takes them.
    const placed: Sink = blocks === undefined ? seen : (bytes) => blocks.placed(bytes, seen);
    if (plan.mapping.tensors.has(key)) producer.produce(key, [first, end], placed);
    else copyRange(plan.source, key, [first, end], sink); // scales of what was decoded
    onProduced(key);
  });

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
  const buffer = new Uint8Array(Math.min(COPY_BYTES, end - begin));
  for (let at = begin; at < end; at += COPY_BYTES) {
    const bytes = buffer.subarray(0, Math.min(COPY_BYTES, end - at));
    source.read(key, at, bytes);
    sink(bytes);
  }
}

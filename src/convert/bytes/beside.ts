// What works beside the thread that makes an output: a thread that hashes and writes, or two where there are more cores.
import { availableParallelism } from "node:os";
import { BLOCKS_BYTES, Blocks } from "../../base/threads/blocks.ts";
import { Lane, THREAD_BYTES } from "../../base/threads/lane.ts";
import { type Writer, WriterHere, WriterThread, Writing } from "../../output/write/writer.ts";
import { HASHING, isThreadWorth } from "../../views/identity/hash-thread.ts";

export interface Beside {
  /** That bytes are made in; undefined where one thread does all. */
  readonly blocks: Blocks | undefined;
  /** Of a thread that hashes. */
  readonly hashing: Lane | undefined;
  readonly writer: Writer;
  close(): void;
}

/** With two cores, who hashes has time left to write; with more, one thread each. */
const threadsFor = (isSealed: boolean): number => (isSealed && availableParallelism() > 2 ? 2 : 1);

/** What threads take beside an output of so many bytes. */
export const besideBytes = (bytes: number, isSealed: boolean): number =>
  isThreadWorth(bytes) ? BLOCKS_BYTES + threadsFor(isSealed) * THREAD_BYTES : 0;

/** @param bytes that this run writes; 0 where others do */
export function besideOutput(bytes: number, isSealed: boolean): Beside {
  if (!isThreadWorth(bytes)) {
    return { blocks: undefined, hashing: undefined, writer: new WriterHere(), close: () => undefined };
  }
  const blocks = new Blocks();
  const writing = new Writing();
  const isShared = isSealed && threadsFor(isSealed) === 1;
  const lane = new Lane(blocks, isShared ? [writing, HASHING] : [writing]);
  const hashing = isShared ? lane : isSealed ? new Lane(blocks, [HASHING]) : undefined;
  return {
    blocks,
    hashing,
    writer: new WriterThread(lane, writing),
    close() {
      hashing?.close();
      lane.close();
      writing.close();
    },
  };
}

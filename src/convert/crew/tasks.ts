// What there is to do for a crew, in an order that all of them know: tensors to write, and between them, tensors of the
// seal that are not written as they are hashed.
import { type WriteTask, writeTasks } from "../../output/write/ahead.ts";
import type { ConversionPlan } from "../plan.ts";

export type Task =
  | { readonly kind: "write"; readonly write: WriteTask; readonly hashes: ReadonlyMap<string, number> }
  /** Numbers of the seal's tensors. */
  | { readonly kind: "hash"; readonly ids: readonly number[] };

/** Tensors of the seal are read and hashed so many bytes at a time at least. */
const HASH_BYTES = 2 ** 22;

export interface Tasks {
  readonly all: readonly Task[];
  /** Bytes to write before each. */
  readonly begins: readonly number[];
}

export function tasksOf(
  { files, seal, mapping }: Pick<ConversionPlan, "files" | "seal" | "mapping">,
  kept: readonly number[],
): Tasks {
  const writes = writeTasks(files, kept);
  const passing = new Set<number>();
  const hashes = writes.map(({ ranges }) => {
    const own = new Map<string, number>();
    for (const { key, begin, end } of ranges) {
      const id = begin === 0 && end === mapping.tensors.get(key)?.info.byteLength ? seal?.passingAs(key) : undefined;
      if (id === undefined || passing.has(id)) continue;
      own.set(key, id);
      passing.add(id);
    }
    return own;
  });
  const rest = hashTasks(seal?.all.filter(({ id }) => !passing.has(id)) ?? []);
  const all: Task[] = [];
  const begins: number[] = [];
  let bytes = 0;
  let next = 0;
  const hashUpTo = (end: number): void => {
    for (; next < end; next += 1) {
      all.push({ kind: "hash", ids: rest[next]! });
      begins.push(bytes);
    }
  };
  for (const [i, write] of writes.entries()) {
    all.push({ kind: "write", write, hashes: hashes[i]! });
    begins.push(bytes);
    bytes += write.ranges.reduce((sum, { begin, end }) => sum + end - begin, 0);
    // In step: what they read was read for the output not long ago.
    hashUpTo(Math.floor((rest.length * (i + 1)) / writes.length));
  }
  hashUpTo(rest.length);
  return { all, begins };
}

function hashTasks(
  tensors: readonly { readonly id: number; readonly info: { readonly byteLength: number } }[],
): number[][] {
  const tasks: number[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const { id, info } of tensors) {
    if (bytes >= HASH_BYTES) {
      tasks.push([]);
      bytes = 0;
    }
    tasks.at(-1)!.push(id);
    bytes += info.byteLength;
  }
  return tasks;
}

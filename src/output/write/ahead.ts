// Tensors that others write into files, ahead of whoever follows in order: hashes, keeps the journal and makes the rest.
import type { SumPiece } from "../../formats/checksums.ts";
import { type OutputFile, partsWithin } from "../../formats/output.ts";

/** Who writes tensors into files that are there, in any order. */
export interface Crew {
  /**
   * Begins, once every file is there with what is kept of it.
   * @param out the folder that holds the files
   * @param kept bytes of each file that need not be written again, by its index
   */
  start(out: string, kept: readonly number[]): void;
  /** When tensors of file `index` are in it up to byte `end`; what was found on the way. Asked for in ascending order. */
  written(index: number, end: number): Promise<readonly SumPiece[]>;
  /** When nobody writes any more. */
  stop(): Promise<void>;
}

/** A range of a tensor, and where it goes in its file. */
export interface TensorRange {
  readonly key: string;
  readonly begin: number;
  readonly end: number;
  /** Position in the file. */
  readonly at: number;
  readonly sum: number | undefined;
  /** Where it begins in the data of its checksum. */
  readonly sumBegin: number;
}

/** What one of a crew writes at a time: ranges of one file, in order. */
export interface WriteTask {
  readonly file: number;
  readonly ranges: readonly TensorRange[];
  readonly begin: number;
  readonly end: number;
}

/** Less than this is not worth a task: small tensors are written together. */
const TASK_BYTES = 2 ** 22;

/** The tensors of `files` that are not kept, in tasks in ascending order. The same for everyone who plans the same. */
export function writeTasks(files: readonly OutputFile[], kept: readonly number[]): WriteTask[] {
  return files.flatMap((file, index) => {
    const tasks: WriteTask[] = [];
    let ranges: TensorRange[] = [];
    let bytes = 0;
    const flush = (): void => {
      const [first, last] = [ranges[0], ranges.at(-1)];
      if (first === undefined || last === undefined) return;
      tasks.push({ file: index, ranges, begin: first.at, end: last.at + last.end - last.begin });
      [ranges, bytes] = [[], 0];
    };
    for (const { part, begin, end, sumBegin } of partsWithin(file, kept[index] ?? 0)) {
      if (part.kind !== "tensor") continue;
      const skipped = Math.max(0, (kept[index] ?? 0) - begin);
      if (bytes > 0 && bytes + end - begin > TASK_BYTES) flush();
      ranges.push({
        key: part.key,
        begin: part.begin + skipped,
        end: part.end,
        at: begin + skipped,
        sum: part.sum,
        sumBegin: sumBegin + skipped,
      });
      bytes += end - begin - skipped;
    }
    flush();
    return tasks;
  });
}

// Which bytes of an output each of n parts writes: the files, one after the other, are a tape that is cut in n pieces of
// about equal length. Nobody has to be asked: whoever knows the plan knows the cuts.
import { lengthOf, type OutputFile } from "../../formats/output.ts";

/** Bytes [begin, end) of a file. */
export interface Range {
  /** Name of the file. */
  readonly file: string;
  readonly begin: number;
  readonly end: number;
}

/**
 * Cuts inside a file fall on multiples of this. On a network file system two machines that write to one page of memory can
 * lose each other's bytes; what it reads ahead comes in folios of up to 2 MiB (Linux, fs/nfs/write.c,
 * `nfs_can_extend_write`).
 */
const MOST_GRAIN = 2 ** 22;
/** A page of memory. Outputs that are cut as finely are read again when they are joined. */
const LEAST_GRAIN = 2 ** 12;
/** A part is this many grains at least, so that parts are equal. */
const GRAINS = 16;
/** A cut goes to the end of a file where that is as near as this, in parts of a part. */
const NEAR = 32;

/** What each part writes, in the order of the files; parts of a small output may have nothing to write. */
export function shareOf(files: readonly OutputFile[], parts: number): Range[][] {
  const tape = placed(files.filter(isShared));
  const total = tape.at(-1)?.end ?? 0;
  const cuts = Array.from({ length: parts + 1 }, (_, i) => cutNear((total / parts) * i, total, parts, tape));
  return Array.from({ length: parts }, (_, i) => {
    const [begin, end] = [cuts[i]!, cuts[i + 1]!];
    return tape
      .filter((file) => file.begin < end && file.end > begin)
      .map((file) => ({
        file: file.name,
        begin: Math.max(begin, file.begin) - file.begin,
        end: Math.min(end, file.end) - file.begin,
      }));
  });
}

interface Placed {
  readonly name: string;
  /** On the tape. */
  readonly begin: number;
  readonly end: number;
  readonly isWhole: boolean;
}

function placed(files: readonly OutputFile[]): Placed[] {
  let at = 0;
  return files.map((file) => {
    const begin = at;
    at += file.byteLength;
    return { name: file.name, begin, end: at, isWhole: file.copyOf !== undefined };
  });
}

/** Files that are made of what all parts find belong to none. */
const isShared = ({ byteLength, parts }: OutputFile): boolean =>
  byteLength > 0 && !parts.some((part) => part.kind === "late" && lengthOf(part) > 0);

function cutNear(ideal: number, total: number, parts: number, tape: readonly Placed[]): number {
  if (ideal <= 0) return 0;
  if (ideal >= total) return total;
  const { begin, end, isWhole } = tape[firstEndingAfter(tape, ideal)]!;
  const nearest = ideal - begin < end - ideal ? begin : end;
  const grain = grainOf(total / parts);
  if (isWhole || Math.abs(nearest - ideal) < total / parts / NEAR) return nearest;
  const inside = Math.round((ideal - begin) / grain) * grain;
  return Math.min(begin + inside, end);
}

function firstEndingAfter(tape: readonly Placed[], at: number): number {
  let [low, high] = [0, tape.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (tape[middle]!.end <= at) low = middle + 1;
    else high = middle;
  }
  return low;
}

const grainOf = (partBytes: number): number =>
  Math.min(MOST_GRAIN, Math.max(LEAST_GRAIN, 2 ** Math.floor(Math.log2(Math.max(1, partBytes / GRAINS)))));

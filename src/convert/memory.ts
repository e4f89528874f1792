// Memory of a conversion, known before it starts: it depends on the plan, not on the size of the model.
import { availableParallelism } from "node:os";
import { EnvironmentError } from "../base/errors.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import type { Folder } from "../formats/io/folder.ts";
import type { OutputFile } from "../formats/output.ts";
import { DEFAULT_BUFFER_BYTES } from "../views/gather.ts";
import type { Mapping } from "../views/mapping.ts";

export interface ConversionMemory {
  /** Resident memory of the whole process, an upper estimate. */
  readonly peakBytes: number;
  /** Working buffer of one step of the conversion. */
  readonly bufferBytes: number;
  /** Whether there is memory for threads that hash and write beside the one that makes the output. */
  readonly hasThreads: boolean;
  /** Threads that make the output; 1 where the first one does all. */
  readonly workers: number;
}

/** Node itself with this program: 82 MB measured on Node 20 of small conversions, 85 to 100 of others with their buffers. */
const PROCESS_BYTES = 100e6;
/** V8's young generation, which grows to its full size in long runs: 119 MB measured where a transpose moved in small windows. */
const YOUNG_BYTES = 20e6;
const LONG_FROM_BYTES = 5e8;
/** Plan, headers and moves of one tensor: 3.3 kB measured on plans of 50 000 tensors. */
const TENSOR_BYTES = 4096;
/** A chunk of a source in DCP, and a part of an output file: 2.2 kB and 0.5 kB measured on 45 000 experts. */
const CHUNK_BYTES = 2560;
const PART_BYTES = 512;
/** The smallest buffer that still moves a plain copy at full speed. */
const LEAST_BUFFER_BYTES = 2 ** 20;

/** Below this, threads take longer to begin than they save. */
const WORKERS_FROM_BYTES = 5e8;
/** More of them wait for the disk, or for each other. */
const MOST_AUTO_WORKERS = 4;
/** So many are as quick with one thread. */
const MOST_CORES_OF_ONE = 2;

/** What is known when it is asked how many threads make an output. */
export interface Effort {
  readonly bytes: number;
  /** Whether every thread would have to fetch the source by itself. */
  readonly isFar: boolean;
  /** Whether what one thread encodes tells what another one does. */
  readonly isEncoded: boolean;
  /** Whether tensors are sums that are measured as they are made, which one thread has to see whole. */
  readonly isSummed?: boolean;
}

/**
 * How many threads make an output, where there is memory for them. Two cores are full with one thread and the one that
 * hashes: two threads took 10 % to 90 % longer there, as each of them plans, and what they write is read again; without a
 * seal they took as long as one, and 30 % more of both cores.
 */
export function workersFor(asked: number | "auto" | undefined, { bytes, isFar, isEncoded, isSummed }: Effort): number {
  if (isEncoded || isSummed === true) return 1;
  if (asked !== "auto") return asked ?? 1;
  const cores = availableParallelism();
  const isWorth = bytes >= WORKERS_FROM_BYTES && !isFar && cores > MOST_CORES_OF_ONE;
  return isWorth ? Math.min(cores, MOST_AUTO_WORKERS) : 1;
}

/** What a conversion keeps track of. */
export interface Workload {
  readonly mappings: readonly Mapping[];
  readonly source: Pick<Checkpoint, "chunks"> & { readonly folder?: Pick<Folder, "workBytes"> };
  readonly files: readonly OutputFile[];
  /** What decoding and encoding take beside the working buffers. */
  readonly encodingBytes?: number;
  /** What threads that hash and write take beside the process, if it is to be had. */
  readonly threadBytes?: number;
  /** Threads that make the output, as far as there is memory for them. */
  readonly workers?: number;
}

/** A thread itself, with this program and its heap. */
const WORKER_BYTES = 45e6;

/** Fits the working buffers into `maxRamBytes`. Throws EnvironmentError MAX_RAM_IMPOSSIBLE. */
export function conversionMemory(
  { mappings, source, files, encodingBytes = 0, threadBytes = 0, workers = 1 }: Workload,
  maxRamBytes: number | undefined,
): ConversionMemory {
  const tensors = mappings.reduce((sum, { source, tensors: made }) => sum + source.tensors.size + made.size, 0);
  const parts = files.reduce((sum, file) => sum + file.parts.length, 0);
  const records = tensors * TENSOR_BYTES + (source.chunks ?? 0) * CHUNK_BYTES + parts * PART_BYTES;
  const isLong = files.reduce((sum, { byteLength }) => sum + byteLength, 0) >= LONG_FROM_BYTES;
  const fixed = PROCESS_BYTES + (isLong ? YOUNG_BYTES : 0) + encodingBytes + records + (source.folder?.workBytes ?? 0);
  const least = fixed + mappings.length * LEAST_BUFFER_BYTES;
  if (maxRamBytes !== undefined && maxRamBytes < least) {
    throw new EnvironmentError("MAX_RAM_IMPOSSIBLE", `--max-ram: this conversion takes at least ${least} bytes`, {
      expected: `at least ${least} bytes`,
      found: `${maxRamBytes} bytes`,
      help: `give --max-ram ${Math.ceil(least / 1e6)}MB or more`,
    });
  }
  // Each thread has its own plan, and hashes what it makes.
  const ofWorker = WORKER_BYTES + encodingBytes + records + mappings.length * DEFAULT_BUFFER_BYTES;
  const most = maxRamBytes === undefined ? workers : Math.floor((maxRamBytes - fixed) / ofWorker);
  if (workers > 1 && most > 1) {
    const count = Math.min(workers, most);
    return {
      peakBytes: fixed + count * ofWorker,
      bufferBytes: DEFAULT_BUFFER_BYTES,
      hasThreads: true,
      workers: count,
    };
  }
  const hasThreads = maxRamBytes === undefined || maxRamBytes >= least + threadBytes;
  const base = fixed + (hasThreads ? threadBytes : 0);
  const room = maxRamBytes === undefined ? Number.POSITIVE_INFINITY : (maxRamBytes - base) / mappings.length;
  const bufferBytes = Math.min(DEFAULT_BUFFER_BYTES, Math.floor(room / 8) * 8);
  return { peakBytes: base + mappings.length * bufferBytes, bufferBytes, hasThreads, workers: 1 };
}

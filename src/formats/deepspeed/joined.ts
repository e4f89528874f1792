// Tensors of a step, each out of the files that hold it.
import { bitsOf, byteLengthOf, type Dtype, elementCount } from "../../base/dtype.ts";
import { refuse } from "../io/refuse.ts";
import type { StoredRecord } from "../zip/stored-record.ts";
import type { Partitioned, Run } from "./partitions.ts";
import type { FileTensor } from "./states.ts";

export interface JoinedTensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Row-major bytes [begin, begin + target.length), of which there are as many. */
  read(begin: number, target: Uint8Array): void;
  /** The data that it is read from. */
  records(): Iterable<StoredRecord>;
}

/** @param tensorOf a rank's flat tensor of a group, all of one dtype */
export function fromPartitions(
  { shape, runs }: Partitioned,
  dtype: Dtype,
  tensorOf: (run: Run) => FileTensor,
): JoinedTensor {
  const unit = bitsOf(dtype) / 8;
  return {
    dtype,
    shape,
    read(begin, target) {
      let done = 0;
      for (const run of runs(begin, begin + target.length, unit)) {
        tensorOf(run).data.read(run.from, target.subarray(done, done + run.count));
        done += run.count;
      }
    },
    *records() {
      for (const run of runs(0, elementCount(shape), 1)) yield tensorOf(run).record;
    },
  };
}

/** Bytes of replicas that are compared at once. */
const COMPARED_BYTES = 1 << 20;

/** A tensor that each of the files has whole: they must agree. */
export function fromReplicas(key: string, [first, ...others]: readonly [FileTensor, ...FileTensor[]]): JoinedTensor {
  const { dtype, shape } = first;
  const scratch =
    others.length === 0 ? Buffer.alloc(0) : Buffer.alloc(Math.min(COMPARED_BYTES, byteLengthOf(dtype, shape)));
  return {
    dtype,
    shape,
    read(begin, target) {
      first.data.read(begin, target);
      for (const other of others) {
        for (let done = 0; done < target.length; done += scratch.length) {
          const expected = target.subarray(done, done + scratch.length);
          const found = scratch.subarray(0, expected.length);
          other.data.read(begin + done, found);
          if (!found.equals(expected)) throw replicasDiffer(key, first, other);
        }
      }
    },
    records: () => [first, ...others].map(({ record }) => record),
  };
}

const replicasDiffer = (tensor: string, first: FileTensor, other: FileTensor) =>
  refuse(
    { file: other.file, tensor },
    "REPLICAS_DIFFER",
    `is not the same as in ${first.file}, though each rank has all of it`,
    {
      expected: `the bytes of ${first.file}`,
      found: "others",
      help: "the files are of different saves, or one is damaged: copy the folder of the step again",
    },
  );

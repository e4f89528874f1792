import { byteLengthOf, type Dtype } from "../base/dtype.ts";
import type { Checkpoint, TensorInfo } from "../formats/checkpoint.ts";

/** Named tensors that can be read by range: a checkpoint, a part of one, or what a plan would make of one. */
export interface TensorSource extends Pick<Checkpoint, "tensors" | "read"> {
  /** The same tensors, with decoded ones in F32, so that a cast rounds them once. */
  readonly unrounded?: (keys: ReadonlySet<string>) => TensorSource;
}

export const tensorInfo = (key: string, dtype: Dtype, shape: readonly number[]): TensorInfo => ({
  key,
  dtype,
  shape,
  byteLength: byteLengthOf(dtype, shape),
});

/** The tensors of `source` under other names: `stored` gives, for each new key, the key in `source`. */
export function renamedSource(source: TensorSource, stored: ReadonlyMap<string, string>): TensorSource {
  const { unrounded } = source;
  const tensors = new Map<string, TensorInfo>();
  for (const [key, from] of stored) {
    const info = source.tensors.get(from);
    if (info === undefined) throw new RangeError(`no tensor ${JSON.stringify(from)}`);
    tensors.set(key, info.key === key ? info : { ...info, key });
  }
  return {
    tensors,
    read(key, begin, target) {
      const from = stored.get(key);
      if (from === undefined) throw new RangeError(`no tensor ${JSON.stringify(key)}`);
      source.read(from, begin, target);
    },
    ...(unrounded && {
      unrounded: (keys) => renamedSource(unrounded(new Set([...keys].map((key) => stored.get(key) ?? key))), stored),
    }),
  };
}

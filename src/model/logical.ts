// A checkpoint seen without its encodings: one tensor in place of codes and scales.

import type { JsonObject } from "../base/json.ts";
import { decodedSource } from "../encodings/decoded.ts";
import type { EncodedTensor } from "../encodings/encoding.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import type { TensorSource } from "../views/tensor-source.ts";

export interface Logical {
  readonly checkpoint: Checkpoint & TensorSource;
  /** By the key in the checkpoint. */
  readonly encoded: ReadonlyMap<string, EncodedTensor>;
}

/** Throws what decoding finds wrong with codes and scales. */
export function logicalCheckpoint(stored: Checkpoint, config: JsonObject | null): Logical {
  const decoded = stored.ranks === undefined ? decodedSource(stored, config, stored.path) : null;
  if (decoded === null) return { checkpoint: stored, encoded: new Map() };
  const { tensors, encoded, read, unrounded } = decoded;
  const { path, folder, files, format, others, safetensors, merged } = stored;
  const checkpoint = {
    path,
    folder,
    files,
    format,
    others,
    ...(safetensors === undefined ? {} : { safetensors }),
    ...(merged === undefined ? {} : { merged }),
    tensors,
    read,
    unrounded,
    verify: (keys?: Iterable<string>) => stored.verify(keys && storedKeysOf(keys, encoded)),
    close: () => stored.close(),
  };
  return { checkpoint, encoded };
}

/** Keys in the files: those of codes and scales in place of what they encode. */
export const storedKeysOf = (keys: Iterable<string>, encoded: Logical["encoded"]): string[] =>
  [...keys].flatMap((key) => {
    const tensor = encoded.get(key);
    return tensor === undefined ? [key] : [tensor.codes, tensor.scales];
  });

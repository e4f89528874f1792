// Files of another writer as the Hub has them.
import type { Family } from "../family/family.ts";
import { mapByTable, tableOf } from "./mapping.ts";
import { virtualSource } from "./produce.ts";
import type { TensorSource } from "./tensor-source.ts";

/** `hf` tensors under the keys and in the dims of the canonical order, made there and back as they are read. */
export function inCanonicalOrder({ hf, layouts: [native] }: Family, source: TensorSource): TensorSource {
  const table = tableOf(native);
  const options = { mixedDtypes: true, buffers: false };
  const there = mapByTable(table, source, [hf, native], options);
  return virtualSource(mapByTable(table, virtualSource(there), [native, hf], options));
}

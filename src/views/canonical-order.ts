// HF tensors in the Hub's canonical keys and order of dims, for files of another writer.
import type { Family } from "../family/family.ts";
import { mapByTable, tableOf } from "./mapping.ts";
import { virtualSource } from "./produce.ts";
import type { TensorSource } from "./tensor-source.ts";

/** `hf` tensors under the keys and in the dims of the canonical order. Reading one maps it to native and back. */
export function inCanonicalOrder({ hf, layouts: [native] }: Family, source: TensorSource): TensorSource {
  const table = tableOf(native);
  const options = { mixedDtypes: true, buffers: false };
  const there = mapByTable(table, source, [hf, native], options);
  return virtualSource(mapByTable(table, virtualSource(there), [native, hf], options));
}

// Files of another writer as the Hub has them.
import type { Family } from "../family/adapter.ts";
import { dtypeChoice } from "./dtypes.ts";
import { mapByTable } from "./mapping.ts";
import { virtualSource } from "./produce.ts";
import type { TensorSource } from "./tensor-source.ts";

/** `hf` tensors under the keys and in the dims of the canonical order, made there and back as they are read. */
export function inCanonicalOrder(family: Family, source: TensorSource, native: string): TensorSource {
  const options = { dtypes: dtypeChoice([]), mixedDtypes: true, buffers: false };
  const there = mapByTable({ family }, source, "hf", native, options);
  return virtualSource(mapByTable({ family }, virtualSource(there), native, "hf", options));
}

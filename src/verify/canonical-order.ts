// Files of another writer as the Hub has them.
import type { Family } from "../../adapters/adapter.ts";
import { dtypeChoice } from "../convert/dtypes.ts";
import { mapByTable } from "../convert/mapping.ts";
import { virtualSource } from "../convert/produce.ts";
import type { TensorSource } from "../convert/tensor-source.ts";

/** `hf` tensors under the keys and in the dims of the canonical order, made there and back as they are read. */
export function inCanonicalOrder(family: Family, source: TensorSource, native: string): TensorSource {
  const options = { dtypes: dtypeChoice([]), mixedDtypes: true, buffers: false };
  const there = mapByTable({ family }, source, "hf", native, options);
  return virtualSource(mapByTable({ family }, virtualSource(there), native, "hf", options));
}

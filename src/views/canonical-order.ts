// Files of another writer as the Hub has them.
import type { Family } from "../family/family.ts";
import { dtypeChoice } from "./dtypes.ts";
import { mapByTable } from "./mapping.ts";
import { virtualSource } from "./produce.ts";
import type { TensorSource } from "./tensor-source.ts";

/** `hf` tensors under the keys and in the dims of the canonical order, made there and back as they are read. */
export function inCanonicalOrder({ hf, layouts: [native] }: Family, source: TensorSource): TensorSource {
  const options = { dtypes: dtypeChoice([]), mixedDtypes: true, buffers: false };
  const there = mapByTable(source, hf, native, options);
  return virtualSource(mapByTable(virtualSource(there), native, hf, options));
}

// Codes and scales of a checkpoint against those of a seal: the values that they stand for are compared apart.
import type { Model } from "../../model/model.ts";
import type { Difference } from "../../views/difference.ts";
import type { Steps } from "../../views/identity/hash.ts";
import { hashStored } from "./encoded.ts";
import type { Seal } from "./seal-data.ts";

export interface StoredComparison {
  /** `none` where neither has any. */
  readonly status: "compared" | "not checked" | "none";
  readonly reason: string | null;
  readonly differences: readonly Difference[];
}

/** Codes are compared with codes: the same values in other codes are another file, and round otherwise where they are used. */
export function* compareStored(model: Model, { encoded: sealed }: Seal): Steps<StoredComparison> {
  const own = yield* hashStored(model);
  if (own === null && sealed === null) return { status: "none", reason: null, differences: [] };
  if (own === null || sealed === null) {
    const reason =
      own === null
        ? "the weights are plain here: the values that the seal's codes stand for were compared"
        : "the seal is of plain weights: the values that the codes here stand for were compared";
    return { status: "not checked", reason, differences: [] };
  }
  const expected = new Map(sealed.tensors.map((tensor) => [tensor.name, tensor]));
  const names = new Set(own.tensors.map(({ name }) => name));
  const differences = own.tensors.flatMap(({ name, sha256, dtype }): Difference[] => {
    const other = expected.get(name);
    if (other?.sha256 === sha256 && other.dtype === dtype) return [];
    const detail = other === undefined ? "not in the seal" : "others than in the seal";
    return [{ key: name, kind: "encoding", detail: `codes or scales are ${detail}` }];
  });
  const missing = sealed.tensors.filter(({ name }) => !names.has(name));
  const lacking = missing.map(({ name: key }): Difference => ({ key, kind: "encoding", detail: "in the seal alone" }));
  return { status: "compared", reason: null, differences: [...differences, ...lacking] };
}

// Ties that are broken and dropped tensors that are not what they should be, all of them instead of the first.

import { InputError } from "../base/errors.ts";
import { checkValues } from "./checks.ts";
import type { Difference } from "./difference.ts";
import type { Mapping } from "./mapping.ts";

/** Yields the bytes of each step; `standIns` are keys that cannot be read. */
export function* valueFaults(mapping: Mapping, standIns: ReadonlySet<string>): Generator<number, Difference[], void> {
  const faults: Difference[] = [];
  const single = [
    ...mapping.equalities
      .filter(({ alias, of }) => !standIns.has(alias) && !standIns.has(of))
      .map((tie) => ({ ...mapping, equalities: [tie], dropped: [] })),
    ...mapping.dropped
      .filter(({ key }) => !standIns.has(key))
      .map((drop) => ({ ...mapping, equalities: [], dropped: [drop] })),
  ];
  for (const each of single) {
    try {
      yield* checkValues(each, () => false);
    } catch (error) {
      if (!(error instanceof InputError) || error.details.tensor === undefined) throw error;
      const kind = KINDS[error.code];
      if (kind === undefined) throw error;
      const { tensor: key, found } = error.details;
      faults.push({ key, kind, detail: found === undefined ? error.message : `${error.message}: ${found}` });
    }
  }
  return faults;
}

const KINDS: Readonly<Record<string, Difference["kind"]>> = {
  TIE_BROKEN: "tie",
  DROP_NOT_DEFAULT: "dropped",
  DROP_NOT_FLOAT: "dropped",
};

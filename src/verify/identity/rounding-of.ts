// What a model is a rounding of, as the record of the conversion that cast it tells.
import type { ConversionRecord, RoundingOf } from "../../model/record.ts";

interface Told {
  readonly of: RoundingOf | null;
  readonly notes: readonly string[];
}

/** @param root of the tensors at hand: a record tells of those that it was written with, and of no others */
export function roundingOf(record: ConversionRecord | null, root: string): Told {
  const sealed = record?.seal ?? null;
  if (sealed === null) return { of: null, notes: [] };
  if (sealed.root === root) return { of: sealed.roundingOf, notes: [] };
  return {
    of: null,
    notes: [`the record tells of root ${sealed.root}: these weights are not the ones that it was written with`],
  };
}

// Whether every tensor is accounted for: it has one place in the other layout, or a reason not to.
import type { Check } from "../base/check.ts";
import { sourceDifferences } from "../views/difference.ts";
import { count, failed, passed, some } from "./block.ts";
import type { OpenSide } from "./sides.ts";

/** What becomes of a side's tensors. */
export interface Ledger {
  readonly path: string;
  readonly layout: string;
  /** The layout that they are counted against. */
  readonly other: string;
  /** Tensors of the model in the files, and what they are in the other layout. */
  readonly tensors: number;
  readonly becomes: number;
  /** Repeat another tensor, and are compared with it. */
  readonly ties: readonly { readonly alias: string; readonly of: string }[];
  readonly dropped: readonly { readonly key: string; readonly reason: string }[];
  /** Parts that the config describes and the files lack as a whole. */
  readonly absent: readonly string[];
  readonly faults: readonly { readonly key: string; readonly kind: string; readonly detail: string }[];
  /** Entries that belong to a trainer. */
  readonly trainerState: number;
}

/** Throws what the table's plan throws, where nothing tells what tensors become. */
export function ledgerOf({ path, checkpoint, model, view }: OpenSide): Ledger {
  const { mapping } = view;
  const { source, tensors, equalities, dropped } = mapping;
  return {
    path,
    layout: mapping.from.name,
    other: mapping.to.name,
    tensors: source.tensors.size,
    becomes: tensors.size,
    ties: equalities.map(({ alias, of }) => ({ alias, of })),
    dropped: dropped.map(({ key, reason }) => ({ key, reason })),
    absent: mapping.absent ?? [],
    faults: sourceDifferences(mapping),
    trainerState: Math.max(0, checkpoint.tensors.size - model.stored.keys.length),
  };
}

export function ledgerCheck(name: string, ledger: Ledger): Check {
  const { tensors, becomes, other, ties, dropped, absent, faults, trainerState } = ledger;
  if (faults.length > 0) {
    const all = faults.map(({ key, kind, detail }) => `${kind} "${key}": ${detail}`);
    return failed(name, some(all));
  }
  const reasons = new Map<string, number>();
  for (const { reason } of dropped) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  const words = [
    `${count(tensors, "tensor")} → ${becomes.toLocaleString("en-US")} of ${other}`,
    ...(ties.length > 0 ? [`${ties.length} that repeat another`] : []),
    ...[...reasons].map(([reason, n]) => `${n} left out (${reason})`),
    ...(trainerState > 0 ? [`${count(trainerState, "tensor")} of the trainer left out`] : []),
    ...absent.map((part) => `without the ${part}`),
  ];
  return passed(name, words.join(", "));
}

// What inputs exercise of a model, by Hugging Face's keys: the whole of a tensor, rows of it, or nothing.
import type { ForwardPlan } from "../../../numerics/shapes/plan.ts";
import type { WeightPart } from "../../../numerics/shapes/reads.ts";
import type { Chosen } from "./chosen.ts";

/** Why something was not run: ids that the input does not have would pick it, other tokens would choose it, or no step reads it. */
export type NotRun = "row" | "expert" | "tensor";

export interface Exercised {
  /** Null where all of the tensor was run. */
  readonly partial: (key: string) => Partial | null;
}

export interface Partial {
  readonly why: NotRun;
  /** Whether index `row` of the first axis was run. */
  has(row: number): boolean;
}

const NOTHING: Partial = { why: "tensor", has: () => false };

/** @param plans of Hugging Face's forward pass on each input */
export function exercisedBy(plans: readonly ForwardPlan[], chosen: Chosen): Exercised {
  const reads = plans.map((plan) => plan.reads);
  const picked = new Map<string, Set<number>>();
  for (const [key, rows] of reads.flatMap((each) => [...each.picked])) {
    const known = picked.get(key) ?? new Set();
    for (const row of rows) known.add(row);
    picked.set(key, known);
  }
  const ofExperts = expertParts(plans, chosen);
  return {
    partial(key) {
      if (reads.some(({ whole }) => whole.has(key))) return null;
      const rows = picked.get(key);
      if (rows) return { why: "row", has: (row) => rows.has(row) };
      const parts = ofExperts.get(key);
      if (!parts) return NOTHING;
      return { why: "expert", has: (row) => parts.some(({ begin, end }) => begin <= row && row < end) };
    },
  };
}

/** What experts read, by key: those that were chosen on every side. A key of which none was has an empty list. */
function expertParts(plans: readonly ForwardPlan[], chosen: Chosen): ReadonlyMap<string, readonly WeightPart[]> {
  const parts = new Map<string, WeightPart[]>();
  for (const { name, experts } of plans.flatMap(({ reads }) => reads.mixtures)) {
    const sides = chosen.get(name) ?? [];
    for (const [e, own] of experts.entries()) {
      const isRun = sides.length > 0 && sides.every((side) => side.has(e));
      for (const part of own) {
        const known = parts.get(part.key) ?? [];
        if (isRun) known.push(part);
        parts.set(part.key, known);
      }
    }
  }
  return parts;
}

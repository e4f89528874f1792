// What inputs exercise of a model, by Hugging Face's keys: the whole of a tensor, rows of it, or nothing.
import type { ForwardPlan } from "../../../numerics/shapes/plan.ts";
import type { Chosen } from "./chosen.ts";

/** Why something was not run: ids that the input does not have would pick it, other tokens would choose it, or no step reads it. */
export type NotRun = "row" | "expert" | "tensor";

export interface Partial {
  readonly why: NotRun;
  /** Whether index `row` of the first axis was run. */
  has(row: number): boolean;
}

/** What a forward pass reads of a tensor, whatever tokens choose. */
export type Reader =
  | { readonly kind: "whole" }
  | { readonly kind: "nothing" }
  | { readonly kind: "rows"; readonly rows: ReadonlySet<number> }
  | { readonly kind: "experts"; readonly parts: readonly ExpertPart[] };

/** Indices [begin, end) of the first axis, which an expert takes where a token chooses it. */
export interface ExpertPart {
  readonly mixture: string;
  readonly expert: number;
  readonly begin: number;
  readonly end: number;
}

export type Readers = (key: string) => Reader;

/** @param plans of Hugging Face's forward pass on each input */
export function readersOf(plans: readonly ForwardPlan[]): Readers {
  const reads = plans.map((plan) => plan.reads);
  const picked = new Map<string, Set<number>>();
  for (const [key, rows] of reads.flatMap((each) => [...each.picked])) {
    const known = picked.get(key) ?? new Set();
    for (const row of rows) known.add(row);
    picked.set(key, known);
  }
  const ofExperts = expertParts(plans);
  return (key) => {
    if (reads.some(({ whole }) => whole.has(key))) return { kind: "whole" };
    const rows = picked.get(key);
    if (rows) return { kind: "rows", rows };
    const parts = ofExperts.get(key);
    return parts ? { kind: "experts", parts } : { kind: "nothing" };
  };
}

/** What of a tensor was run; null where all of it was. An expert was run where it was chosen on every side. */
export function partialOf(reader: Reader, chosen: Chosen): Partial | null {
  switch (reader.kind) {
    case "whole":
      return null;
    case "nothing":
      return { why: "tensor", has: () => false };
    case "rows":
      return { why: "row", has: (row) => reader.rows.has(row) };
    case "experts": {
      const run = reader.parts.filter(({ mixture, expert }) => {
        const sides = chosen.get(mixture) ?? [];
        return sides.length > 0 && sides.every((side) => side.has(expert));
      });
      return { why: "expert", has: (row) => run.some(({ begin, end }) => begin <= row && row < end) };
    }
    default:
      throw reader satisfies never;
  }
}

/** What experts read, by key. */
function expertParts(plans: readonly ForwardPlan[]): ReadonlyMap<string, readonly ExpertPart[]> {
  const parts = new Map<string, ExpertPart[]>();
  // Every input reads the same of an expert.
  for (const { name, experts } of plans[0]?.reads.mixtures ?? []) {
    for (const [expert, own] of experts.entries()) {
      for (const { key, begin, end } of own) {
        const known = parts.get(key) ?? [];
        known.push({ mixture: name, expert, begin, end });
        parts.set(key, known);
      }
    }
  }
  return parts;
}

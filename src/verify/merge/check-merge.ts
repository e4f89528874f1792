// A merged model against its base and its adapters: which tensors carry the delta, once, and whether all others are the base's.
import type { Check } from "../../base/check.ts";
import { runSteps, type StepOptions } from "../../base/steps.ts";
import type { Checkpoint, Format, MergedAdapter, MergedTensor, TensorInfo } from "../../formats/checkpoint.ts";
import type { PathOrLocation } from "../../formats/io/disk-folder.ts";
import { type MergedBase, mergedBase, widened } from "../../merge/merge.ts";
import { Sum } from "../../merge/sum.ts";
import { type Model, type ModelOptions, openModel } from "../../model/model.ts";
import { asHf, type HfView } from "../../views/as-hf.ts";
import { valueFaults } from "../../views/checks.ts";
import { compareTensors } from "../../views/compare.ts";
import { type Difference, sourceDifferences, valueDifference } from "../../views/difference.ts";
import { castLike, castSource, narrower } from "../../views/rounding.ts";
import { configsOf } from "../diff-configs.ts";
import { checksumChecks } from "../not-checked.ts";
import { type DeltaState, deltaState, type Found } from "./delta-state.ts";

export interface CheckedChange extends Omit<Found, "state"> {
  readonly key: string;
  /** What was to change it, each by one adapter. */
  readonly changes: readonly MergedTensor[];
  readonly state: DeltaState | "missing";
}

interface Place {
  readonly path: string;
  readonly layout: string;
  readonly format: Format;
}

/** The JSON document of `check MERGED --base BASE --merge-adapter ADAPTER`. */
export interface MergeCheck {
  readonly verdict: "pass" | "fail";
  readonly merged: Place;
  readonly base: Place;
  readonly adapters: readonly MergedAdapter[];
  readonly tensors: number;
  /** Of tensors that the adapters change, by canonical keys of Hugging Face. */
  readonly changes: readonly CheckedChange[];
  /** Of all others: what is not as the base has it. */
  readonly differences: readonly Difference[];
  readonly checks: readonly Check[];
  readonly notes: readonly string[];
  readonly seconds: number;
}

export interface MergeCheckOptions extends StepOptions {
  readonly base: ModelOptions;
  readonly merged: ModelOptions;
}

/** Throws what opening the models and the adapters throws. Closes neither. */
export async function checkMerge(
  merged: Checkpoint,
  base: Checkpoint,
  paths: readonly PathOrLocation[],
  options: MergeCheckOptions,
): Promise<MergeCheck> {
  const begin = performance.now();
  const of = mergedBase(base, paths, options.base);
  const model = openModel(merged, options.merged);
  const view = asHf(model, { tolerate: true, mixedDtypes: true });
  const bytes = 3 * [...model.source.tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
  const found = await runSteps(compare(of, view), "comparing", bytes, options);
  merged.verify();
  of.checkpoint.verify();
  const checks = [
    ...checksOf(found),
    configCheck(of.model, model),
    ...checksumChecks(base, "the base"),
    ...checksumChecks(merged, "the merged model"),
  ];
  return {
    verdict: checks.some(({ status }) => status === "failed") ? "fail" : "pass",
    merged: placeOf(model),
    base: placeOf(of.model),
    adapters: of.checkpoint.merged.adapters,
    tensors: of.base.tensors.size,
    ...found,
    checks,
    notes: of.checkpoint.merged.notes,
    seconds: (performance.now() - begin) / 1e3,
  };
}

const placeOf = ({ checkpoint: { path, format }, layout }: Model): Place => ({ path, layout: layout.name, format });

type Compared = Pick<MergeCheck, "changes" | "differences">;

function* compare({ base, changes, checkpoint }: MergedBase, view: HfView): Generator<number, Compared, void> {
  const merged = view.source;
  const own = [...sourceDifferences(view.mapping), ...(yield* valueFaults(view.mapping)).map(valueDifference)];
  const touched = grouped(checkpoint.merged.tensors, ({ key }) => key);
  // Summed before any rounding, then in the types that the merged model has.
  const wide = castSource(base, widened(base));
  const once = castLike(new Sum(wide, changes, checkpoint.path), merged);
  const none = castLike(base, merged);
  const found: CheckedChange[] = [];
  const differences: Difference[] = [];
  for (const [key, info] of none.tensors) {
    const other = merged.tensors.get(key);
    const asked = touched.get(key);
    if (asked === undefined)
      differences.push(
        ...(other === undefined ? missing(info) : yield* compareTensors(none, merged, [info, other], NAMED)),
      );
    else if (other === undefined || !isAlike(info, other))
      found.push({ key, changes: asked, state: "missing", factor: null, residue: null });
    else {
      const grain = narrower(base.tensors.get(key)?.dtype, other.dtype) ?? other.dtype;
      const deltas = changes.added.filter(({ tensors }) => tensors.has(key));
      const terms = asked.reduce((sum, { rank }) => sum + (rank ?? 1), 0);
      const state = yield* deltaState(other, { merged, once, none, deltas, grain, terms });
      found.push({ key, changes: asked, ...state });
    }
  }
  for (const { key } of merged.tensors.values())
    if (!base.tensors.has(key)) differences.push({ key, kind: "extra", detail: "the base has no such tensor" });
  const told = new Set([...differences.map(({ key }) => key), ...found.map(({ key }) => key)]);
  return { changes: found, differences: [...differences, ...own.filter(({ key }) => !told.has(key))] };
}

function grouped<T, K>(all: readonly T[], keyOf: (each: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const each of all) groups.set(keyOf(each), [...(groups.get(keyOf(each)) ?? []), each]);
  return groups;
}

const NAMED = { a: "the base", sameNaN: true } as const;

const missing = ({ key, dtype, shape }: TensorInfo): Difference[] => [
  { key, kind: "missing", detail: `${dtype} [${shape.join(", ")}] in the base, nothing in the merged model` },
];

const isAlike = (a: TensorInfo, b: TensorInfo): boolean => a.dtype === b.dtype && `${a.shape}` === `${b.shape}`;

const GOOD: ReadonlySet<CheckedChange["state"]> = new Set(["once", "rounded"]);

function checksOf({ changes, differences }: Compared): Check[] {
  return [
    changeCheck("each delta is in its tensor, once", changes.filter(isProduct)),
    ...(changes.every(isProduct)
      ? []
      : [
          changeCheck(
            "tensors that take another's place are in it",
            changes.filter((each) => !isProduct(each)),
          ),
        ]),
    {
      name: "every other tensor is the base's, bit for bit",
      status: differences.length === 0 ? "passed" : "failed",
      ...(differences.length === 0 ? {} : { detail: `${differences.length} differ, such as "${differences[0]!.key}"` }),
    },
  ];
}

const isProduct = ({ changes }: CheckedChange): boolean => changes.some(({ kind }) => kind !== "replaced");

/** What the rounding hides was not seen; what was seen and is not there, once, fails. */
function changeCheck(name: string, changes: readonly CheckedChange[]): Check {
  const states = grouped(changes, ({ state }) => state);
  const detail = [...states].map(([state, own]) => `${own.length} ${WORDS[state]}`).join(", ");
  const bad = changes.find(({ state }) => !GOOD.has(state) && state !== "vanished");
  if (bad !== undefined) return { name, status: "failed", detail: `${detail}; the first is "${bad.key}"` };
  const isSeen = changes.some(({ state }) => GOOD.has(state));
  return { name, status: isSeen ? "passed" : "not checked", detail: detail === "" ? "none was to change" : detail };
}

export const WORDS: Readonly<Record<CheckedChange["state"], string>> = {
  once: "once, bit for bit",
  rounded: "once, otherwise rounded",
  vanished: "that rounding leaves nothing of",
  lost: "lost",
  twice: "twice",
  subtracted: "subtracted",
  scaled: "by another factor",
  otherwise: "no multiple of the delta",
  missing: "missing, or of another shape",
};

function configCheck(base: Model, merged: Model): Check {
  const name = "the config computes what the base's does";
  const { differences, reason } = configsOf([base, merged]);
  if (differences === null) return { name, status: "not checked", detail: reason ?? "" };
  const [first] = differences;
  return first === undefined
    ? { name, status: "passed" }
    : { name, status: "failed", detail: `"${first.field}" differs` };
}

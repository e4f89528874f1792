// The state that a trainer saved beside the model, by what it is: of the optimizer, for each parameter; and the rest.
import type { Checkpoint } from "../../formats/checkpoint.ts";
import { isTrainerState } from "../../model/keys.ts";

/** What an optimizer keeps of one kind, `exp_avg` or `param_groups.lr`: keys in the checkpoint by names of parameters. */
export type ByParameter = Map<string, string>;

export interface SavedState {
  /** `optimizer.`, as the trainer calls it. */
  readonly root: string;
  /** By `state.exp_avg` and the like: tensors of their parameter's shape. */
  readonly moments: ReadonlyMap<string, ByParameter>;
  /** By `state.step`, `param_groups.lr` and the like: numbers, as tensors or pickled. */
  readonly numbers: ReadonlyMap<string, ByParameter>;
  /** Schedules, data loaders, counters: they do not depend on a layout. */
  readonly others: readonly string[];
}

const OPTIMIZER = /^(optim(?:izer)?\.)(state|param_groups)\.(.+)\.([^.]+)$/;

/** Key of what an optimizer keeps of a kind for a parameter. */
export function keyOf(root: string, kind: string, parameter: string): string {
  const dot = kind.indexOf(".");
  return `${root}${kind.slice(0, dot)}.${parameter}${kind.slice(dot)}`;
}

export function savedState(checkpoint: Checkpoint): SavedState {
  const { tensors, entries = new Map<string, () => Uint8Array>() } = checkpoint;
  const [moments, numbers] = [new Map<string, ByParameter>(), new Map<string, ByParameter>()];
  const others: string[] = [];
  let root = "optimizer.";
  for (const key of new Set([...tensors.keys(), ...entries.keys()])) {
    if (!isTrainerState(checkpoint, key) || isInside(key, entries)) continue;
    const [, own, of, parameter, name] = OPTIMIZER.exec(key) ?? [];
    if (own === undefined || parameter === undefined) {
      others.push(key);
      continue;
    }
    root = own;
    const kind = `${of}.${name}`;
    const isMoment = of === "state" && (tensors.get(key)?.shape.length ?? 0) > 0;
    const kinds = isMoment ? moments : numbers;
    const byParameter = kinds.get(kind) ?? new Map<string, string>();
    kinds.set(kind, byParameter.set(parameter, key));
  }
  return { root, moments, numbers, others };
}

/** Whether a tensor lies in a pickled entry, and goes along with that. */
function isInside(key: string, entries: ReadonlyMap<string, unknown>): boolean {
  if (entries.has(key)) return false;
  for (let dot = key.lastIndexOf("."); dot > 0; dot = key.lastIndexOf(".", dot - 1))
    if (entries.has(key.slice(0, dot))) return true;
  return false;
}

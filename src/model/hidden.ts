// Tensors of a checkpoint that are not read out of what holds them: a conversion must not leave them out.
import type { InputError } from "../base/errors.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { isTrainerState } from "./keys.ts";

/** Of entries outside the trainer state, which no model needs. */
export const hiddenTensors = (checkpoint: Checkpoint): readonly InputError[] =>
  checkpoint.others.flatMap(({ key, fault }) =>
    fault === undefined || isTrainerState(checkpoint, key) ? [] : [fault],
  );

/** Throws the fault of the first. */
export function refuseHidden(checkpoint: Checkpoint): void {
  const [first] = hiddenTensors(checkpoint);
  if (first !== undefined) throw first;
}

// A part of a run: some positions of its inputs, or some layers beside recorded hidden states.
import type { Restart } from "../../../numerics/driver.ts";
import type { RowRange } from "../../../numerics/logit-rows.ts";
import type { Rows } from "../../../numerics/ops/call.ts";
import type { ResolvedInputs } from "../inputs/resolved.ts";

/** An input that is run, and what of it counts. */
export interface CutInput {
  /** Which of the run's inputs. */
  readonly prompt: number;
  /** Row of its first position among those of all inputs. */
  readonly start: number;
  readonly counted: Rows;
}

export interface Cut {
  /** Of all inputs of the run, one behind the other, and where each begins. */
  readonly ids: readonly number[];
  readonly starts: readonly number[];
  /** Rows whose logits are compared. */
  readonly range: RowRange;
  readonly inputs: readonly CutInput[];
  readonly restart?: Restart | undefined;
}

export function startsOf(inputs: readonly ResolvedInputs[]): number[] {
  let row = 0;
  return inputs.map(({ input }) => {
    row += input.ids_T.length;
    return row - input.ids_T.length;
  });
}

/** All of a run. */
export function uncut(inputs: readonly ResolvedInputs[]): Cut {
  const ids = inputs.flatMap(({ input }) => input.ids_T);
  const starts = startsOf(inputs);
  return {
    ids,
    starts,
    range: { begin: 0, end: ids.length },
    inputs: inputs.map(({ input }, prompt) => ({
      prompt,
      start: starts[prompt]!,
      counted: { begin: 0, end: input.ids_T.length },
    })),
  };
}

/** A stretch of the layers; its logits count where it goes to the end. */
export function cutByLayers(inputs: readonly ResolvedInputs[], restart: Restart): Cut {
  const whole = uncut(inputs);
  const { end } = whole.range;
  return { ...whole, range: restart.to === null ? whole.range : { begin: end, end }, restart };
}

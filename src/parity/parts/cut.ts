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
/**
 * The inputs that some rows are of, up to the last row that counts: later tokens are not seen by earlier ones.
 * @param range rows of all inputs; an input with images is in it whole, or not at all
 */
export function cutByTokens(
  inputs: readonly ResolvedInputs[],
  range: RowRange,
): { readonly inputs: readonly ResolvedInputs[]; readonly cut: Cut } {
  const whole = uncut(inputs);
  const own = inputs.flatMap((resolved, prompt) => {
    const start = whole.starts[prompt]!;
    const length = resolved.input.ids_T.length;
    const [begin, end] = [Math.max(0, range.begin - start), Math.min(length, range.end - start)];
    if (begin >= end) return [];
    return [{ resolved: upTo(resolved, end), of: { prompt, start, counted: { begin, end } } }];
  });
  return {
    inputs: own.map(({ resolved }) => resolved),
    cut: { ...whole, range, inputs: own.map(({ of }) => of) },
  };
}

function upTo({ input, about }: ResolvedInputs, end: number): ResolvedInputs {
  const { ids_T, positions_T3 } = input;
  if (end === ids_T.length) return { input, about };
  return {
    about,
    input: {
      ...input,
      ids_T: ids_T.slice(0, end),
      wholeLength: input.wholeLength ?? ids_T.length,
      ...(positions_T3 ? { positions_T3: positions_T3.slice(0, end) } : {}),
    },
  };
}

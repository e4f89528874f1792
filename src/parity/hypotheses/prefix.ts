// Which part of a golden's input screens hypotheses: its beginning, up to where logits first differ. Later tokens are not seen by
// earlier ones, so a right hypothesis is right there already.
import type { ForwardInput } from "../../../numerics/graph.ts";
import type { Rows } from "../../../numerics/ops/call.ts";

export interface Prefix {
  readonly input: ForwardInput;
  /** Positions whose logits are compared. */
  readonly rows: Rows;
}

/** Positions that are compared from the first one that differs on. */
const ROWS = 2;

/** @param imageToken of a model that sees: images are read whole, and so are the tokens that stand for them */
export function prefixOf(input: ForwardInput, firstOver: number, imageToken: number | undefined): Prefix {
  const { ids_T, images, positions_T3 } = input;
  const last = imageToken === undefined || images === undefined ? -1 : ids_T.lastIndexOf(imageToken);
  const isBefore = images === undefined || firstOver + ROWS <= ids_T.indexOf(imageToken ?? -1);
  const end = Math.min(ids_T.length, Math.max(firstOver + ROWS, isBefore ? 0 : last + 1));
  return {
    input: {
      ids_T: ids_T.slice(0, end),
      ...(isBefore || images === undefined ? {} : { images }),
      ...(positions_T3 === undefined ? {} : { positions_T3: positions_T3.slice(0, end) }),
    },
    rows: { begin: firstOver, end: Math.min(end, firstOver + ROWS) },
  };
}

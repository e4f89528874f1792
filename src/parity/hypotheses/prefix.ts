// Which part of a golden's input screens hypotheses: its beginning, up to where logits first differ. Later tokens are not seen by
// earlier ones, so a right hypothesis is right there already.
import type { ForwardInput } from "../../../numerics/graph.ts";
import type { Rows } from "../../../numerics/ops/call.ts";

export interface Prefix {
  readonly input: ForwardInput;
  /** Positions whose logits are compared. */
  readonly rows: Rows;
}

/** Positions that are compared, the first one that differs among them: what a hypothesis leaves there is nothing, or much. */
const ROWS = 1;

/** The beginning of an input; of a model that sees, with its images, unless these come later. */
export function beginningOf(input: ForwardInput, tokens: number, imageToken: number | undefined): ForwardInput {
  const { ids_T, images, positions_T3 } = input;
  const isBefore = images === undefined || imageToken === undefined || tokens <= ids_T.indexOf(imageToken);
  // Images are read whole, and so are the tokens that stand for them.
  const end = Math.min(ids_T.length, Math.max(tokens, isBefore ? 0 : ids_T.lastIndexOf(imageToken) + 1));
  return {
    ids_T: ids_T.slice(0, end),
    wholeLength: ids_T.length,
    ...(isBefore ? {} : { images }),
    ...(positions_T3 === undefined ? {} : { positions_T3: positions_T3.slice(0, end) }),
  };
}

/** @param firstOver the first position whose logits differ */
export function prefixOf(input: ForwardInput, firstOver: number, imageToken: number | undefined): Prefix {
  const end = Math.min(input.ids_T.length, firstOver + ROWS);
  return { input: beginningOf(input, end, imageToken), rows: { begin: firstOver, end } };
}

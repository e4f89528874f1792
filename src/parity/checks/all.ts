// Every check of a parity run, in the order of reports: one name here for each.
import { chain } from "./chain.ts";
import type { Examine, ParityCheck, Run } from "./check.ts";
import { configs } from "./configs.ts";
import { experts } from "./experts.ts";
import { goldenPrecision } from "./golden.ts";
import { goldenTaps } from "./golden-taps.ts";
import { finite, known, meanKl, top1 } from "./logits.ts";
import { multiTokenPrediction } from "./multi-token-prediction.ts";
import { positions, windows } from "./reach.ts";
import { everyTensorRead, ties } from "./tensors.ts";
import { tower } from "./tower.ts";
import { vocabulary } from "./vocabulary.ts";
import { weights } from "./weights.ts";

const OF_LOGITS: readonly Examine[] = [meanKl, known, top1, finite, multiTokenPrediction];
const OF_SIDES: readonly Examine[] = [
  goldenPrecision,
  goldenTaps,
  chain,
  configs,
  ties,
  everyTensorRead,
  weights,
  vocabulary,
];
/** What the input could not show. */
const OF_INPUT: readonly Examine[] = [positions, windows, experts, tower];

export const checksOf = (run: Run): readonly ParityCheck[] =>
  [...OF_LOGITS, ...OF_SIDES, ...OF_INPUT].flatMap((examine) => examine(run));

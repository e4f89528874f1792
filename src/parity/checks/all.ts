// Every check of a parity run, in the order of reports: one line here for each.
import type { Examine, ParityCheck, Run } from "./check.ts";
import { configs } from "./configs.ts";
import { finite, known, meanKl, top1 } from "./logits.ts";
import { multiTokenPrediction } from "./multi-token-prediction.ts";
import { everyTensorRead, ties } from "./tensors.ts";

const CHECKS: readonly Examine[] = [meanKl, known, top1, finite, multiTokenPrediction, configs, ties, everyTensorRead];

export const checksOf = (run: Run): readonly ParityCheck[] => CHECKS.flatMap((examine) => examine(run));

// Whether the layers that predict further tokens agree: no logit of the model shows them.
import { byFindings, count, type Examine, some } from "./check.ts";

const NAME = "multi-token prediction agrees";
const caveat = "multi-token prediction not compared";

export const multiTokenPrediction: Examine = ({ evidence: { plans, golden, taps, coverage }, findings }) => {
  const predicting = plans.map(({ steps }) => steps.some(({ tap }) => tap.startsWith("mtp.")));
  if (!predicting.some((has) => has)) return [];
  if (golden) return [{ name: NAME, status: "not checked", detail: "a golden has the model's logits alone", caveat }];
  const compared = taps.filter(({ tap }) => tap.startsWith("mtp.")).length;
  if (compared > 0)
    return [byFindings(findings, "MTP", { name: NAME, held: `its hidden states, ${count(compared, "tap")}` })];
  const { a = [], b = [] } = coverage.weights?.onlyIn ?? {};
  const [side, keys] = a.length > 0 ? ["a", a] : ["b", b];
  const detail = `${count(keys.length, "tensor")} of it in ${side} alone, as ${some(keys, 1)}`;
  return [{ name: NAME, status: "not checked", detail, caveat }];
};

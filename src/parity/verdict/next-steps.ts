// What to try where no cause was found: a failed run never ends in nulls alone.
import { isFloat } from "../../base/floats.ts";
import { runSteps, type StepOptions } from "../../base/steps.ts";
import type { HfView } from "../../views/as-hf.ts";
import { type Judged, judgeValues, type Scanned } from "../../views/values/implausible.ts";
import { scan } from "../../views/values/scan.ts";
import { some } from "../checks/check.ts";
import type { Evidence } from "./evidence.ts";

/** @param views of the sides: of one where there is a golden */
export async function nextSteps(
  views: readonly HfView[],
  { golden, coverage }: Evidence,
  options: StepOptions,
): Promise<string[]> {
  if (golden) return stepsBesideGolden(await judged(views[0]!, options));
  const { weights } = coverage;
  if (weights === null) return [];
  if (weights.different.length === 0 && weights.rounded === 0) {
    const equal = "the weights are equal bit for bit and so is what the configs compute";
    return [
      `${equal}: the forward passes differ; compare each side with a golden that transformers recorded (--golden)`,
    ];
  }
  const keys = weights.different.map(({ key }) => key);
  if (keys.length === 0)
    return [
      "the weights are equal once rounded to the narrower type: a cast explains what is left; --max-kl lets it pass",
    ];
  return [`${keys.length} of ${weights.tensors} tensors differ in bits (${some(keys)}): \`diff\` shows by how much`];
}

/** A golden has no weights to compare with. So the side is looked at on its own. */
function stepsBesideGolden({ differences }: Judged): string[] {
  const suspects = differences.map(({ key, detail }) => `"${key}": ${detail}`);
  if (suspects.length > 0) return [`on its own, a has values that a trained model does not: ${some(suspects)}`];
  return [
    "on its own, a shows nothing: no tensor is zero, constant or not finite, and ties hold",
    "give another checkpoint of this model as b: weights that differ are then named, and so is the first step that differs",
    "check that the golden is of these weights, of this config (theta, scaling, eps, windows, experts a token) and recorded in F32",
  ];
}

async function judged({ model, source }: HfView, options: StepOptions): Promise<Judged> {
  const infos = [...source.tensors.values()];
  const bytes = infos.reduce((sum, { byteLength }) => sum + byteLength, 0);
  function* values(): Generator<number, Scanned[], void> {
    const scanned: Scanned[] = [];
    for (const info of infos) {
      if (isFloat(info.dtype)) scanned.push({ info, hfKey: info.key, scan: yield* scan(source, info, info.dtype) });
    }
    return scanned;
  }
  return judgeValues(await runSteps(values(), "weights", bytes, options), model.family.centredNorms);
}

// Configs and inputs that upstream's own forward passes fail on, and the graphs therefore refuse.
import type { Forward, ForwardInput } from "../../numerics/graph.ts";
import { InputError } from "../../src/base/errors.ts";
import type { Qwen3VlConfig } from "./config.ts";

const noGraph = (message: string, expected: string, found: string | number): InputError =>
  new InputError("NO_GRAPH", message, {
    expected,
    found: `${found}`,
    help: "use `roundtrip`, `diff` and `validate`, which need no graph",
  });

/** @throws InputError NO_GRAPH */
export function checkTower({ vision }: Qwen3VlConfig): void {
  const headDim = vision.dim / vision.nHeads;
  if (headDim % 4 === 0) return;
  throw noGraph(
    "rows and columns share the pairs of a head of the vision tower",
    "hidden_size / num_heads of vision_config that 4 divides",
    headDim,
  );
}

/** @throws InputError NO_GRAPH or ROPE_NOT_IN_TORCHTITAN */
export function checkTorchtitan({ vision, mropeSection, headDim, rope }: Qwen3VlConfig): void {
  if (!Number.isInteger(Math.sqrt(vision.nPositions))) {
    throw noGraph(
      "torchtitan takes the tower's position table for a square",
      "num_position_embeddings that is a square number",
      vision.nPositions,
    );
  }
  for (const axis of [1, 2]) {
    const size = mropeSection[axis]!;
    const last = axis + 3 * (size - 1);
    if (size === 0 || last < headDim / 2) continue;
    throw noGraph(
      `torchtitan has no frequency ${last} of a head of ${headDim} channels, which mrope_section asks for`,
      `mrope_section whose parts lie within ${headDim / 2} frequencies`,
      `[${mropeSection.join(", ")}]`,
    );
  }
  if (rope.kind === "yarn" && rope.factor > 1) checkYarn(rope);
}

/** CosSinRoPE asserts it. pytorch/torchtitan@adf340d3f9fa:torchtitan/models/common/rope.py */
function checkYarn(rope: Extract<Qwen3VlConfig["rope"], { kind: "yarn" }>): void {
  const half = rope.dims / 2;
  const cutoff = (rotations: number) =>
    (half * Math.log(rope.originalMaxPositions / (rotations * 2 * Math.PI))) / Math.log(rope.theta);
  const [low, high] = [cutoff(rope.betaFast), cutoff(rope.betaSlow)];
  if (0 < low && low < high && high < half - 1) return;
  throw new InputError("ROPE_NOT_IN_TORCHTITAN", "torchtitan's Qwen3-VL refuses this YaRN", {
    expected: `0 < ${low.toPrecision(4)} < ${high.toPrecision(4)} < ${half - 1}`,
    found: `beta_fast ${rope.betaFast}, beta_slow ${rope.betaSlow}, ${rope.originalMaxPositions} original positions`,
    help: "compare the Hugging Face side with --golden instead; torchtitan cannot run this model",
  });
}

/** What follows from runs of image tokens upstream. */
export type ByRuns = "features and positions" | "positions";

/**
 * All upstreams treat a run of image tokens as one image: torchtitan places features by runs, transformers and Megatron
 * Bridge derive only positions from them.
 * @throws InputError INPUTS_INVALID where runs and images are not the same
 */
export function withSeparateImages(forward: Forward, config: Qwen3VlConfig, byRuns: ByRuns): Forward {
  return (op, weight, input) => {
    if (byRuns !== "positions" || input.positions_T3 === undefined) checkRuns(input, config);
    return forward(op, weight, input);
  };
}

function checkRuns({ ids_T, images }: ForwardInput, { tokens, vision }: Qwen3VlConfig): void {
  if (images === undefined) return;
  const runs: number[] = [];
  for (const [t, id] of ids_T.entries()) {
    if (id !== tokens.image) continue;
    if (t > 0 && ids_T[t - 1] === tokens.image) runs[runs.length - 1]! += 1;
    else runs.push(1);
  }
  const sizes = images.grids.map(([t, h, w]) => (t * h * w) / vision.mergeSize ** 2);
  if (runs.length === sizes.length && runs.every((run, i) => run === sizes[i])) return;
  throw new InputError("INPUTS_INVALID", "the runs of image tokens are not the images, one after another", {
    tensor: "input_ids",
    expected: `runs of ${sizes.join(", ")} image tokens (id ${tokens.image}), with other tokens between them`,
    found: `runs of ${runs.join(", ")}`,
    help: "put the tokens around each image that the model's Hugging Face processor puts there",
  });
}

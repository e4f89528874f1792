// Configs and inputs that upstream's own forward passes fail on, and the graphs therefore refuse.
import type { Forward, ForwardInput } from "../../numerics/graph.ts";
import { InputError } from "../../src/base/errors.ts";
import type { Qwen35Config } from "./config.ts";

const noGraph = (message: string, expected: string, found: string | number): InputError =>
  new InputError("NO_GRAPH", message, {
    expected,
    found: `${found}`,
    help: "use `roundtrip`, `diff` and `validate`, which need no graph",
  });

/** @throws InputError NO_GRAPH */
export function checkTower({ vision }: Qwen35Config): void {
  if (vision === null) return;
  const headDim = vision.dim / vision.nHeads;
  if (headDim % 4 === 0) return;
  throw noGraph(
    "rows and columns share the pairs of a head of the vision tower",
    "hidden_size / num_heads of vision_config that 4 divides",
    headDim,
  );
}

/** @throws InputError NO_GRAPH */
export function checkTorchtitan({ vision, mropeSection, rope }: Qwen35Config): void {
  if (vision === null) return;
  if (!Number.isInteger(Math.sqrt(vision.nPositions))) {
    throw noGraph(
      "torchtitan takes the tower's position table for a square",
      "num_position_embeddings that is a square number",
      vision.nPositions,
    );
  }
  const pairs = rope.dims / 2;
  for (const axis of [1, 2]) {
    const last = axis + 3 * (mropeSection[axis]! - 1);
    if (last < axis || last < pairs) continue;
    throw noGraph(
      `torchtitan has no frequency ${last} of ${rope.dims} rotated channels, which mrope_section asks for`,
      `mrope_section whose parts lie within ${pairs} frequencies`,
      `[${mropeSection.join(", ")}]`,
    );
  }
}

/** What an upstream tells images apart by. */
export type ByRuns = "features" | "positions";

/**
 * All upstreams treat a run of image tokens as one image: torchtitan places features by runs, transformers and Megatron
 * Bridge derive only positions from them.
 * @throws InputError INPUTS_INVALID where runs and images are not the same
 */
export function withSeparateImages(forward: Forward, config: Qwen35Config, byRuns: ByRuns): Forward {
  return (op, weight, input) => {
    if (byRuns === "features" || input.positions_T3 === undefined) checkRuns(input, config);
    return forward(op, weight, input);
  };
}

function checkRuns({ ids_T, images }: ForwardInput, { tokens, vision }: Qwen35Config): void {
  if (images === undefined || tokens === null || vision === null) return;
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

// Where versions of upstream disagree on Muse Glimmer. Upstream's reference code reads the tower's table of positions at
// (w, h) for a place (h, w) of an image, and each project did so at some time; square images are not concerned.
import { isSince, type Upstream, type UpstreamChange } from "../../src/family/upstream.ts";

const UPRIGHT = "reads the tower's table of positions at (h, w)";
const TRANSPOSED = "reads the tower's table of positions at (w, h)";

export const TABLE_IN_TRANSFORMERS = {
  code: "POSITION_TABLE_IN_TRANSFORMERS",
  project: "transformers",
  lastBefore: "5.23",
  release: "5.24",
  day: "2026-11-21",
  before: UPRIGHT,
  after: TRANSPOSED,
  permalink:
    "https://github.com/huggingface/transformers/blob/v5.24.0/src/transformers/models/muse_glimmer/modeling_muse_glimmer.py",
} as const satisfies UpstreamChange;

export const TABLE_IN_TORCHTITAN = {
  code: "POSITION_TABLE_IN_TORCHTITAN",
  project: "torchtitan",
  lastBefore: "0.3.0",
  release: null,
  day: "2026-08-21",
  before: TRANSPOSED,
  after: UPRIGHT,
  permalink: "https://github.com/pytorch/torchtitan/commit/717e9358f",
} as const satisfies UpstreamChange;

/** How a version of each project reads the table. */
export const tableIn = ({ transformers, torchtitan }: Upstream) =>
  ({
    transformers: { version: transformers, reads: isSince(transformers, TABLE_IN_TRANSFORMERS) ? "(w, h)" : "(h, w)" },
    torchtitan: { version: torchtitan, reads: isSince(torchtitan, TABLE_IN_TORCHTITAN) ? "(h, w)" : "(w, h)" },
  }) as const;

// torchtitan's layouts: how its revisions spell the parts of a decoder that they have renamed. A family's table and its native
// graph are written once for all of them, and take the spelling as an argument.
//   fixtures/generate/layout_keys.py lists the keys that each revision saves
import type { Forward, KnownDifference } from "../../numerics/graph.ts";
import type { LayoutRow } from "../../src/family/define.ts";
import type { Upstream } from "../../src/family/upstream.ts";
import type { Rule } from "../../src/table/rule.ts";

export interface Spelling {
  /** First revision with this spelling: a release, or a date on the main branch. */
  readonly since: string;
  /** Key of the output projection. */
  readonly head: "lm_head.weight" | "output.weight";
  /** Module of a layer that holds wq, wk and wv. */
  readonly qkv: "attention" | "attention.qkv_linear";
  /** Whether wq, wk and wv are saved as one wqkv. */
  readonly fused: boolean;
  /** Key below `moe` of the tensor that stacks a layer's experts, by its name (`w1`) and its axes (`EFD`). */
  readonly expert: (name: string, axes: string) => string;
  readonly expertBias: "expert_bias_E" | "expert_bias";
}

const bare = { expert: (name: string) => `experts.${name}`, expertBias: "expert_bias" } as const;
const named = {
  expert: (name: string, axes: string) => `experts.${name}_${axes}`,
  expertBias: "expert_bias_E",
} as const;

const RELEASE_02: Spelling = { since: "0.2.0", head: "output.weight", qkv: "attention", fused: false, ...bare };
/** #2878 */
const QKV_LINEAR: Spelling = { ...RELEASE_02, since: "2026-04-16", qkv: "attention.qkv_linear" };
/** #2937 */
const LM_HEAD: Spelling = { ...QKV_LINEAR, since: "2026-04-27", head: "lm_head.weight" };
/** #3425 */
const NAMED_AXES: Spelling = { ...LM_HEAD, since: "2026-05-27", ...named };
/** #3859 */
const ROUTED_EXPERTS: Spelling = {
  ...NAMED_AXES,
  since: "2026-07-16",
  expert: (name, axes) => `routed_experts.inner_experts.${name}_${axes}`,
};

/** Keyed by the date on which the main branch began this spelling. 0.3.0 has the last one. */
export const TORCHTITAN = {
  "0.2.0": RELEASE_02,
  "2026-04-16": QKV_LINEAR,
  "2026-04-27": LM_HEAD,
  "2026-05-27": NAMED_AXES,
  "2026-07-16": ROUTED_EXPERTS,
} as const;

/** What FusedQKVLinear saved until it got hooks that split wqkv: #2878 to #3656. */
export const fused = <S extends Spelling>(spelling: S): S => ({ ...spelling, fused: true });

/** When FusedQKVLinear got these hooks. */
export const UNFUSED = "2026-06-19";

interface Parts<C, S extends Spelling> {
  readonly rules: (config: C, spelling: S) => readonly Rule[];
  readonly graph: (config: C, spelling: S, upstream: Upstream) => Forward;
  readonly differences: (config: C, spelling: S, upstream: Upstream) => readonly KnownDifference[];
}

/**
 * Rows of a family's list of layouts.
 * @returns a row by its name and spelling; `until` is the first revision that saves other keys of this family
 */
export const torchtitanRows =
  <C, S extends Spelling = Spelling>({ rules, graph, differences }: Parts<C, S>) =>
  (name: string, spelling: S, until?: string): LayoutRow<C> => ({
    name,
    trainer: "torchtitan",
    since: spelling.since,
    until,
    rules: (config) => rules(config, spelling),
    graph: (config, upstream) => graph(config, spelling, upstream),
    differences: (config, upstream) => differences(config, spelling, upstream),
  });

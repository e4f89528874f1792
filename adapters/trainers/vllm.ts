// vLLM's runtime names: HF's names, except where vLLM fuses linear layers. The shard ids of its loaders give the order.
//   vllm-project/vllm@0035bdf2b1ac243ef6f31eef27411b022461df8e:vllm/model_executor/models/llama.py, `stacked_params_mapping`
//   vllm-project/vllm@0014ec6c58e1b74e660a1e6d059b5689716183ff:vllm/model_executor/layers/fused_moe/layer.py, `create_weights`, `_load_w13`
import type { LayoutRow } from "../../src/family/define.ts";
import {
  alsoSpelled,
  critical,
  type Dims,
  inOrder,
  type MapRule,
  type Rule,
  rename,
  split,
  stackExperts,
} from "../../src/table/rule.ts";
import { EXPERT_BIAS, ROUTER } from "../common/critical.ts";
import { RUN_TIME } from "../common/stacked-experts.ts";

/** vLLM's row of a family's list of layouts. */
export const vllmRow = <C>(rules: (config: C) => readonly Rule[]): LayoutRow<C> => ({
  name: "vllm",
  trainer: "vllm",
  rules,
  graph: { none: "it names what vLLM holds at run time; what vLLM computes with it is not written as a graph" },
});

/** The same name on both sides. */
export const sameName = (key: string, dims: Dims): MapRule => rename<string, string>(key, key, dims);

/** Query, key and value rows, one below the other. `d` is empty for biases. */
export function qkvProj(attention: string, kind: "weight" | "bias", d: string): MapRule {
  const parts = {
    q: `${attention}.q_proj.${kind}`,
    k: `${attention}.k_proj.${kind}`,
    v: `${attention}.v_proj.${kind}`,
  };
  return split(`${attention}.qkv_proj.${kind}`, parts, `(q: n H | k: k H | v: k H)${d}`);
}

/** Gate rows, then up rows, of `f` each. */
export function gateUpProj(mlp: string, kind: "weight" | "bias", f: string, d: string): MapRule {
  const parts = { gate: `${mlp}.gate_proj.${kind}`, up: `${mlp}.up_proj.${kind}` };
  return split(`${mlp}.gate_up_proj.${kind}`, parts, `(gate: ${f} | up: ${f})${d}`);
}

/** How HF's files name the projections of an expert, and where transformers 5 holds the stacked ones. */
interface ExpertNames {
  readonly gate: string;
  readonly up: string;
  readonly down: string;
  readonly held: string;
}

/** FusedMoE: `w13_weight` [e, gate | up, d], `w2_weight` [e, d, g]; later vLLM has them in a module `routed_experts`. */
export function fusedExperts(
  experts: string,
  names: ExpertNames = { gate: "gate_proj", up: "up_proj", down: "down_proj", held: experts },
): MapRule[] {
  const expert: `${string}{e}` = `${experts}.{e}`;
  const parts = { gate: `${expert}.${names.gate}.weight`, up: `${expert}.${names.up}.weight` };
  const later = (name: string, rule: MapRule) => alsoSpelled("native", [`${experts}.routed_experts.${name}`], rule);
  const [w13, w2] = [`${experts}.w13_weight`, `${experts}.w2_weight`];
  return inOrder(
    RUN_TIME,
    [
      later("w13_weight", split(w13, parts, "e (gate: g | up: g) d")),
      later("w2_weight", stackExperts<string, string>(w2, `${expert}.${names.down}.weight`, "e d g")),
    ],
    [
      later("w13_weight", rename<string, string>(w13, `${names.held}.gate_up_proj`, "e (gate: g | up: g) d")),
      later("w2_weight", rename<string, string>(w2, `${names.held}.down_proj`, "e d g")),
    ],
  );
}

/** Experts chosen by a sigmoid router with a bias for the choice, beside shared ones. */
// biome-ignore format: a table
export function biasedExperts(mlp: string): MapRule[] {
  return [
    critical(ROUTER, sameName(`${mlp}.gate.weight`, "e d")),
    critical(EXPERT_BIAS, sameName(`${mlp}.gate.e_score_correction_bias`, "e")),
    ...fusedExperts(`${mlp}.experts`),
    gateUpProj(`${mlp}.shared_experts`, "weight", "s", " d"),
    sameName(`${mlp}.shared_experts.down_proj.weight`, "d s"),
  ];
}

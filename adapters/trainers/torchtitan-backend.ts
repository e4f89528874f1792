// torchtitan's transformers backend: transformers' own modules under `model.`, but for mixtures of experts, which it
// replaces by torchtitan's.
//   pytorch/torchtitan@v0.3.0:torchtitan/experiments/transformers_modeling_backend/{moe_replacement,state_dict_adapter}.py
import { critical, type Dims, drop, type MapRule, type Rule, rename, tie } from "../../src/table/rule.ts";
import { EXPERT_BIAS, ROUTER } from "../common/critical.ts";

/** The first revision that replaced experts under the names that 0.3.0 has for them. */
export const BACKEND_SINCE = "2026-07-16";

/** A tensor of transformers' own modules. */
export const held = (key: string, dims: Dims): MapRule => rename<string, string>(`model.${key}`, key, dims);

/** Embedding and head, last in a table; the native side is written with both where they are one. */
export const heldHead = (tied: boolean): Rule[] =>
  tied
    ? [
        tie("native", "model.lm_head.weight", "model.model.embed_tokens.weight", "tied embeddings", true),
        tie("hf", "lm_head.weight", "model.embed_tokens.weight", "tied embeddings", false),
      ]
    : [held("lm_head.weight", "v d")];

/** Native keys of a layer's mixture. Axes: e experts, d model, g ffn of an expert. */
export const mixtureKeys = (mlp: string) =>
  ({
    router: `${mlp}.router.gate.weight`,
    bias: `${mlp}.expert_bias_E`,
    w1: `${mlp}.routed_experts.inner_experts.w1_EFD`,
    w2: `${mlp}.routed_experts.inner_experts.w2_EDF`,
    w3: `${mlp}.routed_experts.inner_experts.w3_EFD`,
  }) as const;

export const heldRouter = (native: string, hf: string): MapRule =>
  critical(ROUTER, rename<string, string>(native, hf, "e d"));

/** torchtitan balances the load of every mixture by a bias, also of those that have none in transformers. */
export const unheldBias = (native: string): Rule =>
  critical(
    EXPERT_BIAS,
    drop("native", native, "load-balancing bias, which HF has no place for", { dims: "e", recreate: 0 }),
  );

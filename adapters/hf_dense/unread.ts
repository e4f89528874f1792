// Fields that change the mathematics of some architectures. Where transformers' class of another architecture never
// reads such a field, its meaning is unknown, and the config is refused.
import type { ConfigReader } from "../common/config-reader.ts";
import type { Traits } from "./traits/traits.ts";

const FIELDS: Readonly<Record<string, (traits: Traits) => boolean>> = {
  attn_logit_softcapping: ({ attentionSoftcap }) => attentionSoftcap !== undefined,
  final_logit_softcapping: ({ finalSoftcap }) => finalSoftcap !== undefined,
  query_pre_attn_scalar: ({ attentionScale }) => attentionScale !== null && "rootOf" in attentionScale,
  attention_multiplier: ({ attentionScale }) => attentionScale !== null && "times" in attentionScale,
  embedding_multiplier: ({ embedScale }) => Array.isArray(embedScale) && embedScale[0] === "embedding_multiplier",
  residual_multiplier: ({ residualScale }) => Array.isArray(residualScale),
  logits_scaling: ({ logits }) =>
    logits !== null && logits !== "minicpm" && !("times" in logits && logits.times[0] === "logit_scale"),
  logit_scale: ({ logits }) =>
    logits !== null && logits !== "minicpm" && "times" in logits && logits.times[0] === "logit_scale",
  scale_emb: ({ residualScale }) => residualScale === "minicpm",
  scale_depth: ({ residualScale }) => residualScale === "minicpm",
  dim_model_base: ({ residualScale }) => residualScale === "minicpm",
  clip_qkv: ({ clip }) => clip,
  // HunYuan's configs have this field, and its class ignores it: it always norms.
  use_qk_norm: ({ qkNorm }) => qkNorm !== null && (qkNorm.when === undefined || qkNorm.when[0] === "use_qk_norm"),
  qk_layernorm: ({ qkNorm }) => qkNorm?.when?.[0] === "qk_layernorm",
  use_parallel_residual: ({ parallel }) => Array.isArray(parallel),
  use_bias: ({ mlpBias }) => Array.isArray(mlpBias) && mlpBias[0] === "use_bias",
  use_qkv_bias: ({ qkvBias }) => Array.isArray(qkvBias) && qkvBias[0] === "use_qkv_bias",
  attention_out_bias: ({ outputBias }) => Array.isArray(outputBias) && outputBias[0] === "attention_out_bias",
  use_post_norm: ({ afterNorms }) => afterNorms !== undefined,
  no_rope_layers: ({ rotates }) => rotates === "no_rope_layers",
  layer_rope_theta: ({ rotates }) => rotates === "layer_rope_theta",
  rope_local_base_freq: ({ ropeByType }) => ropeByType?.sliding[0] === "rope_local_base_freq",
};

/** @throws InputError CONFIG_UNSUPPORTED */
export function checkUnread(config: ConfigReader, traits: Traits, modelType: string): void {
  const why = `transformers' ${modelType} never reads: nobody knows what is meant`;
  for (const [field, isRead] of Object.entries(FIELDS)) if (!isRead(traits)) config.only(field, false, why);
  const { windows } = traits;
  const isOff = !config.has("use_sliding_window") || !config.boolean("use_sliding_window");
  if (windows.by === "none" && !(isOff && config.has("use_sliding_window"))) config.only("sliding_window", false, why);
  if (windows.by === "types" || !config.has("layer_types")) return;
  const isWindowed = windows.by === "all" && config.has("sliding_window");
  const kind = isWindowed ? "sliding_attention" : "full_attention";
  if (config.list("layer_types").some((type) => type !== kind)) config.unsupported("layer_types", `all "${kind}"`, why);
}

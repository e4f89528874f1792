// Fields of config.json about numbers in the forward pass: eps, factors, caps, activations, heads.
import type { JsonObject } from "../../../base/json.ts";
import type { Kind } from "../kind.ts";
import { numberOf } from "../names.ts";
import { fieldKind, KEEP, ofNumber, pathsOf, turnedOver, valueAt, withValues } from "./field.ts";

const factor = (name: string, about: string, field: string | readonly string[], to: (value: number) => number): Kind =>
  fieldKind({ name, about, field, to: ofNumber((value) => to(value)) });

const otherEps = (eps: number): number => (eps === 1e-6 ? 1e-5 : 1e-6);

export const NUMBERS: readonly Kind[] = [
  factor(
    "norm-eps-default",
    "eps of the norms is another (Megatron-Bridge#5712)",
    ["rms_norm_eps", "layer_norm_eps", "norm_eps"],
    otherEps,
  ),
  factor("post-norm-eps", "eps of the norms behind attention and feed-forward is another", "post_norm_eps", () => 1e-2),
  factor(
    "embedding-multiplier-ignored",
    "the embedding not multiplied",
    ["embedding_multiplier", "scale_emb"],
    () => 1,
  ),
  factor("attention-multiplier-ignored", "attention's scale is the default", ["attention_multiplier"], () => 0.4),
  factor(
    "residual-multiplier-ignored",
    "branches not multiplied before they are added",
    ["residual_multiplier"],
    () => 1,
  ),
  factor("residual-depth-scale", "the scale of branches by depth is another", ["scale_depth"], () => 1),
  factor("logits-scale-ignored", "logits not scaled", ["logits_scaling", "logit_scale", "output_multiplier"], () => 1),
  factor(
    "query-scale",
    "queries scaled by the size of a head, not by what the config gives",
    "query_pre_attn_scalar",
    (x) => x + 10,
  ),
  factor("qk-scale-factor", "the factor of normed queries and keys left out", "qk_scale_factor", () => 1),
  factor(
    "attention-scale-beta",
    "the growth of attention's scale with the position is another",
    "llama_4_scaling_beta",
    () => 0.1,
  ),
  factor("swiglu-limit", "the clamp of the gated unit is another (gpt-oss ports)", "swiglu_limit", () => 1),
  factor("clip-qkv", "queries, keys and values clipped elsewhere", "clip_qkv", () => 0.2),
  fieldKind({
    name: "logit-softcap-dropped",
    about: "the cap of logits left out",
    field: "final_logit_softcapping",
    alsoCodes: ["CONFIG_UNSUPPORTED"],
    to: ofNumber(() => null),
  }),
  fieldKind({
    name: "attention-softcap-dropped",
    about: "the cap of attention scores left out",
    field: "attn_logit_softcapping",
    alsoCodes: ["CONFIG_UNSUPPORTED"],
    to: ofNumber(() => null),
  }),
  fieldKind({
    name: "activation",
    about: "another activation in the feed-forward layers",
    field: ["hidden_act", "hidden_activation"],
    alsoCodes: ["CONFIG_UNSUPPORTED"],
    to: (value) => (value === "silu" ? "gelu" : value === "gelu_pytorch_tanh" ? "silu" : KEEP),
  }),
  fieldKind({
    name: "tie-flag",
    about: "the config says that the head is the embedding, or that it is not, and the other is true",
    field: "tie_word_embeddings",
    alsoCodes: ["MISSING_TENSOR", "STALE_TIED_HEAD", "TIE_BROKEN"],
    to: turnedOver,
  }),
  fieldKind({
    name: "qk-norm-on",
    about: "queries and keys normed that should not be, or the other way round",
    field: "use_qk_norm",
    alsoCodes: ["CONFIG_UNSUPPORTED", "QK_NORM"],
    to: turnedOver,
  }),
  fieldKind({
    name: "temperature-tuning-on",
    about: "the temperature of attention by position switched on",
    field: "attn_temperature_tuning",
    alsoCodes: ["CONFIG_UNSUPPORTED", "ATTENTION_TEMPERATURE"],
    to: turnedOver,
  }),
  fieldKind({
    name: "head-dim-derived",
    about: "head_dim taken for the hidden size over the heads (torchtitan#3570, Fast-LLM#102)",
    field: "head_dim",
    alsoCodes: ["SHAPE_MISMATCH", "CONFIG_UNSUPPORTED", "INVALID_CONFIG"],
    to: ofNumber((value, config) => {
      const derived = numberOf(config, ["hidden_size"]) / numberOf(config, ["num_attention_heads"], 1);
      const isLatent = config.kv_lora_rank !== undefined;
      return Number.isInteger(derived) && derived !== value && !isLatent ? derived : KEEP;
    }),
  }),
];

const text = (config: JsonObject, field: string): string | undefined => pathsOf(config, field)[0];

/** Half as many heads, twice as large: no shape tells. */
const headsHalved: Kind = {
  name: "half-the-heads-twice-as-large",
  code: "CONFIG_DIFFERS",
  alsoCodes: ["CONFIG_UNSUPPORTED", "SHAPE_MISMATCH"],
  about: "heads half as many and twice as large: the shapes are the same",
  keepsShapes: true,
  places({ config }) {
    const paths = ["num_attention_heads", "num_key_value_heads", "head_dim"].map((field) => text(config, field));
    const [q, k, head] = paths.map((path) => (path === undefined ? Number.NaN : Number(valueAt(config, path))));
    const isFree = text(config, "kv_lora_rank") === undefined && text(config, "partial_rotary_factor") === undefined;
    const normed = text(config, "mrope_section") !== undefined;
    return isFree && !normed && q! % 2 === 0 && k! % 2 === 0 && head! > 0 ? [paths[0]!] : [];
  },
  make(sample) {
    const { config } = sample;
    const [q, k, head] = ["num_attention_heads", "num_key_value_heads", "head_dim"].map(
      (field) => text(config, field)!,
    );
    const size = (path: string) => Number(valueAt(config, path));
    return withValues(sample, { [q!]: size(q!) / 2, [k!]: size(k!) / 2, [head!]: size(head!) * 2 });
  },
};

export const HEADS: readonly Kind[] = [headsHalved];

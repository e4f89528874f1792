// Fields of config.json about positions: theta, its scaling, what turns, windows. Position 0 is exact in all of them.
import { isJsonObject, type JsonObject } from "../../../base/json.ts";
import type { Kind } from "../kind.ts";
import { fieldKind, KEEP, ofNumber } from "./field.ts";

const ATTENTION = /attn|mixer/;

/** A list of thetas by layer takes the place of the one. */
const isRead = (config: JsonObject): boolean => config.layer_rope_theta === undefined;

const scalingOf = (value: unknown): JsonObject | null => {
  if (!isJsonObject(value)) return null;
  const type = value.rope_type ?? value.type;
  return typeof type === "string" && type !== "default" ? value : null;
};

const rope = (name: string, about: string, field: string, to: (value: number) => number): Kind =>
  fieldKind({ name, about, field, taps: ATTENTION, to: ofNumber((value) => to(value)) });

export const POSITIONS: readonly Kind[] = [
  fieldKind({
    name: "rope-theta-default",
    about: "theta fell back to its default, 1e4 (torchtitan#3772, 1e6 → 1e4)",
    field: "rope_theta",
    taps: ATTENTION,
    to: ofNumber((value, config) => (isRead(config) ? (value === 1e4 ? 5e5 : 1e4) : KEEP)),
  }),
  fieldKind({
    name: "rope-theta-by-layer-default",
    about: "the thetas of layers fell back to 1e4",
    field: "layer_rope_theta",
    taps: ATTENTION,
    to: (value) =>
      Array.isArray(value) ? value.map((theta: unknown) => (theta === 0 ? 0 : theta === 1e4 ? 2e4 : 1e4)) : KEEP,
  }),
  fieldKind({
    name: "rope-scaling-dropped",
    about: "the scaling of frequencies left out: only theta was read (maxtext#4764)",
    field: ["rope_parameters", "rope_scaling"],
    taps: ATTENTION,
    alsoCodes: ["CONFIG_UNSUPPORTED"],
    to(value) {
      const scaling = scalingOf(value);
      if (scaling === null) return KEEP;
      const { rope_theta, partial_rotary_factor } = scaling;
      return rope_theta === undefined
        ? null
        : {
            rope_type: "default",
            rope_theta,
            ...(partial_rotary_factor === undefined ? {} : { partial_rotary_factor }),
          };
    },
  }),
  fieldKind({
    name: "rope-scaling-added",
    about: "a linear scaling of positions by 4 that the model was not trained with",
    field: "rope_parameters",
    taps: ATTENTION,
    alsoCodes: ["CONFIG_UNSUPPORTED", "ROPE_NOT_IN_TORCHTITAN"],
    to: (value) =>
      isJsonObject(value) && value.rope_type === "default" && value.mrope_section === undefined
        ? { ...value, rope_type: "linear", factor: 4 }
        : KEEP,
  }),
  rope("rope-scaling-factor", "the factor of the scaling is twice as large", "factor", (value) => 2 * value),
  rope(
    "rope-scaling-original-length",
    "the length that the scaling starts from is twice as long",
    "original_max_position_embeddings",
    (value) => 2 * value,
  ),
  rope("rope-scaling-low-frequency", "Llama 3's scaling with another lower bound", "low_freq_factor", () => 2),
  rope("yarn-mscale", "YaRN's mscale missing (DeepSeek ports)", "mscale", () => 0.5),
  rope("yarn-mscale-all-dim", "YaRN's scale of attention left out (DeepSeek ports)", "mscale_all_dim", () => 0),
  fieldKind({
    name: "yarn-truncate",
    about: "YaRN's bounds cut to whole numbers where they are not (gpt-oss ports)",
    field: "truncate",
    taps: ATTENTION,
    to: (value) => (typeof value === "boolean" ? !value : KEEP),
  }),
  fieldKind({
    name: "partial-rotary-factor-ignored",
    about: "all channels of a head turn, not a part (maxtext#4764)",
    field: "partial_rotary_factor",
    taps: ATTENTION,
    to: ofNumber((value) => (value < 1 ? 1 : KEEP)),
  }),
  fieldKind({
    name: "rope-interleave",
    about: "the rotary channels taken for halves where they are adjacent pairs",
    field: "rope_interleave",
    taps: ATTENTION,
    alsoCodes: ["CONFIG_UNSUPPORTED"],
    to: (value) => (value === true ? false : KEEP),
  }),
  fieldKind({
    name: "mrope-sections-reversed",
    about: "sections of multimodal positions in the order w, h, t: text alone is exact (Qwen-VL ports)",
    field: "mrope_section",
    taps: ATTENTION,
    to: (value) => (Array.isArray(value) ? value.toReversed() : KEEP),
  }),
];

const slides = ({ layer_types, use_sliding_window }: JsonObject): boolean =>
  Array.isArray(layer_types)
    ? layer_types.includes("sliding_attention") || layer_types.includes("chunked_attention")
    : use_sliding_window !== false;

const window = (name: string, about: string, to: (size: number) => number | null): Kind =>
  fieldKind({
    name,
    about,
    field: ["sliding_window", "attention_chunk_size"],
    taps: ATTENTION,
    to: ofNumber((size, config) => (slides(config) ? to(size) : KEEP)),
  });

export const WINDOWS: readonly Kind[] = [
  window("window-one-less", "the sliding window one position shorter (gpt-oss ports)", (size) => size - 1),
  window("window-one-more", "the sliding window one position longer", (size) => size + 1),
  fieldKind({
    name: "window-dropped",
    about: "the sliding window left out: short prompts are within it",
    field: "sliding_window",
    taps: ATTENTION,
    alsoCodes: ["CONFIG_UNSUPPORTED"],
    to: ofNumber((_, config) => (slides(config) ? null : KEEP)),
  }),
  fieldKind({
    name: "layer-types-rolled",
    about: "which layers slide, or attend in full, off by one",
    field: "layer_types",
    taps: ATTENTION,
    alsoCodes: ["CONFIG_UNSUPPORTED", "MISSING_TENSOR", "UNKNOWN_TENSOR", "SHAPE_MISMATCH"],
    to: (value) => (Array.isArray(value) ? [...value.slice(-1), ...value.slice(0, -1)] : KEEP),
  }),
  fieldKind({
    name: "no-rope-layers-rolled",
    about: "which layers have no positions off by one (Llama 4)",
    field: "no_rope_layers",
    taps: ATTENTION,
    alsoCodes: ["NOPE_LAYERS", "CONFIG_UNSUPPORTED"],
    to: (value) => (Array.isArray(value) ? [...value.slice(-1), ...value.slice(0, -1)] : KEEP),
  }),
];

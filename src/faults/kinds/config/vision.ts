// Fields of config.json about what sees.
import type { Kind } from "../kind.ts";
import { numberOf } from "../names.ts";
import { fieldKind, KEEP, ofNumber } from "./field.ts";

const REFUSED = ["CONFIG_UNSUPPORTED", "SHAPE_MISMATCH", "MISSING_TENSOR", "UNKNOWN_TENSOR"] as const;

export const SIGHT: readonly Kind[] = [
  fieldKind({
    name: "vision-heads",
    about: "heads of the vision tower twice as many, half as large",
    field: ["num_heads", "num_attention_heads"],
    room: "vision",
    taps: /vision/,
    alsoCodes: REFUSED,
    to: ofNumber((value, config) => {
      const head = numberOf(config, ["hidden_size"]) / value;
      return Number.isInteger(head / 4) ? 2 * value : KEEP;
    }),
  }),
  fieldKind({
    name: "vision-rope-theta",
    about: "theta of the vision tower is another",
    field: "rope_theta",
    room: "vision",
    taps: /vision/,
    alsoCodes: REFUSED,
    to: ofNumber((value) => 10 * value),
  }),
  fieldKind({
    name: "vision-activation",
    about: "another activation in the vision tower",
    field: "hidden_act",
    room: "vision",
    taps: /vision/,
    alsoCodes: REFUSED,
    to: (value) => (value === "gelu_pytorch_tanh" ? "silu" : KEEP),
  }),
  fieldKind({
    name: "vision-layer-types-rolled",
    about: "which layers of the tower see a window, or all, off by one",
    field: "layer_types",
    room: "vision",
    taps: /vision/,
    alsoCodes: REFUSED,
    to: (value) => (Array.isArray(value) ? [...value.slice(-1), ...value.slice(0, -1)] : KEEP),
  }),
  fieldKind({
    name: "deepstack-depths",
    about: "features for the language model taken at other depths of the tower",
    field: "deepstack_visual_indexes",
    room: "vision",
    taps: /vision|deepstack/,
    alsoCodes: REFUSED,
    to: (value, config) => {
      const depth = numberOf(config, ["depth"]);
      return Array.isArray(value)
        ? value.map((at: unknown) => (Number(at) + 1) % depth).toSorted((a, b) => a - b)
        : KEEP;
    },
  }),
  fieldKind({
    name: "vision-grid",
    about: "the table of positions taken for another grid",
    field: ["num_position_embeddings", "pos_emb_height"],
    room: "vision",
    taps: /vision/,
    alsoCodes: REFUSED,
    to: ofNumber((value) => value - 1),
  }),
  fieldKind({
    name: "projector-norm-eps",
    about: "eps of the norm before the projector is another",
    field: "projection_layer_norm_eps",
    taps: /vision|project/,
    to: ofNumber(() => 1e-2),
  }),
];

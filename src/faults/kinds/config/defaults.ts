// Fields of config.json that fell back to a default.

import { numberIn, withNumber } from "../../edit.ts";
import { type Kind, withConfig } from "../kind.ts";

/** A field that falls back to `usual` where it is not read; `other` is taken where the model has that one. */
const fallen = (name: string, field: string, [usual, other]: readonly [number, number], about: string): Kind => ({
  name,
  code: "CONFIG_DIFFERS",
  about,
  keepsShapes: true,
  places: ({ config }) => (numberIn(config, field) === undefined ? [] : [field]),
  make: (sample, place) =>
    withConfig(sample, withNumber(sample.config, field, numberIn(sample.config, field) === usual ? other : usual), [
      place,
    ]),
});

export const DEFAULTS: readonly Kind[] = [
  fallen("rope-theta-default", "rope_theta", [1e4, 5e5], "theta fell back to its default, 1e4 (torchtitan#3772)"),
  fallen("norm-eps-default", "rms_norm_eps", [1e-6, 1e-5], "eps of the norms is another (Megatron-Bridge#5712)"),
];

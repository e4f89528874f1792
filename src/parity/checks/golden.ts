// Whether a golden has the digits to tell a right model from a nearly right one.
import { type Examine, scientific } from "./check.ts";

export const goldenPrecision: Examine = ({ evidence: { golden, goldenRounding } }) => {
  if (!golden) return [];
  const name = "the golden was computed in f32 or wider";
  if (goldenRounding === null) return [{ name, status: "passed", detail: "its logits have the digits of F32" }];
  const { type, klMeanNats } = goldenRounding;
  const least =
    klMeanNats === null
      ? ""
      : `, which alone makes a mean KL of ${scientific(klMeanNats)} in the logits and more before them`;
  return [
    {
      name,
      status: "not checked",
      detail: `this golden was computed in ${type}: all its logits are ${type} values${least}`,
      caveat: `as far as a golden computed in ${type} tells`,
    },
  ];
};

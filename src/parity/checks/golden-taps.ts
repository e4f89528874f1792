// Whether hidden states are those that a golden has beside its logits.
import { tapLimit } from "../verdict/limits.ts";
import { type Examine, scientific } from "./check.ts";

export const goldenTaps: Examine = ({ evidence: { golden, taps, exact, goldenTaps: recorded } }) => {
  if (!golden || !recorded) return [];
  const compared = taps.filter(({ tap }) => /^layers\.\d+\.ffn$/.test(tap));
  if (compared.length === 0) return [];
  const layers = compared.map(({ tap }) => tap.split(".")[1]);
  const name = `hidden states behind layers ${layers.join(", ")}`;
  const first = compared.find(({ relativeRms }) => !(relativeRms <= tapLimit(exact, recorded)));
  const most = scientific(Math.max(...compared.map(({ relativeRms }) => relativeRms)));
  if (first === undefined) return [{ name, status: "passed", detail: `all differ by at most ${most} of their size` }];
  const layer = first.tap.split(".")[1];
  return [
    {
      name,
      status: "failed",
      detail: `they part at layer ${layer}, by ${scientific(first.relativeRms)} of their size`,
    },
  ];
};

// Whether hidden states are those that a golden has beside its logits.
import { tapLimit } from "../verdict/limits.ts";
import { type Examine, scientific, some } from "./check.ts";

export const goldenTaps: Examine = ({ evidence: { golden, taps, exact, goldenTaps: recorded, isByLayers } }) => {
  if (!golden || !recorded) return [];
  const compared = taps.filter(({ tap }) => /^layers\.\d+\.ffn$/.test(tap));
  if (compared.length === 0) return [];
  const layers = compared.map(({ tap }) => tap.split(".")[1]);
  const name = `hidden states behind layers ${layers.join(", ")}`;
  const apart = compared.filter(({ relativeRms }) => !(relativeRms <= tapLimit(exact, recorded)));
  const [first] = apart;
  const most = scientific(Math.max(...compared.map(({ relativeRms }) => relativeRms)));
  if (first === undefined) return [{ name, status: "passed", detail: `all differ by at most ${most} of their size` }];
  const places = apart.map(({ tap, relativeRms }) => `${tap.split(".")[1]} (${scientific(relativeRms)} of its size)`);
  const detail = isByLayers
    ? `not those of layers ${some(places, 8)}, each from recorded ones before it`
    : `they part at layer ${first.tap.split(".")[1]}, by ${scientific(first.relativeRms)} of their size`;
  return [{ name, status: "failed", detail }];
};

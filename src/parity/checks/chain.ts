// Whether layers were run one after the other.
import type { Examine } from "./check.ts";

export const chain: Examine = ({ evidence: { isByLayers } }) =>
  isByLayers
    ? [
        {
          name: "layers run one after the other",
          status: "not checked",
          detail: "each began with recorded hidden states: what adds up from layer to layer does not show",
          caveat: "each layer from recorded hidden states",
        },
      ]
    : [];

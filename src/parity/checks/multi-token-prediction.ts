// Whether the layers that predict further tokens agree: no logit of the model shows them.
import { byFindings, type Examine } from "./check.ts";

export const multiTokenPrediction: Examine = ({ findings }) =>
  findings.some(({ code }) => code === "MTP")
    ? [byFindings(findings, "MTP", { name: "multi-token prediction agrees", held: "" })]
    : [];

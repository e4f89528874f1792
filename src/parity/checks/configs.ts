// Whether both sides' configs give the same mathematics.
import { byFindings, type Examine } from "./check.ts";

export const configs: Examine = ({ evidence: { golden }, findings }) =>
  golden
    ? []
    : [
        byFindings(findings, "CONFIG", {
          name: "the configs give the same mathematics",
          held: "every field that it uses",
        }),
      ];

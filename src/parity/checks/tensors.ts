// Whether every tensor has its part in what was run.
import { byFindings, type Examine } from "./check.ts";

export const ties: Examine = ({ findings }) => [
  byFindings(findings, "TIE_BROKEN", { name: "tied tensors are equal", held: "bit for bit" }),
];

export const everyTensorRead: Examine = ({ findings }) => [
  byFindings(findings, "UNUSED_TENSORS", {
    name: "every tensor belongs to a step, or has a reason not to",
    held: "whatever the input",
  }),
];

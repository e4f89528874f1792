// Whether the vision tower was run.
import { count, type Examine, some } from "./check.ts";

export const tower: Examine = ({ evidence: { coverage } }) => {
  const { seesImages, images, unexercised } = coverage;
  if (!seesImages) return [];
  const name = "the vision tower is run";
  if (unexercised.length === 0) return [{ name, status: "passed", detail: count(images, "image") }];
  const detail = `${count(unexercised.length, "tensor")} not exercised by this input, as ${some(unexercised, 1)}: give --image or --inputs`;
  return [{ name, status: "not checked", detail, caveat: "text path only" }];
};

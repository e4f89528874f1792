// A config that gives other mathematics: a theta that fell back to a default (torchtitan#3772), another eps
// (Megatron-Bridge#5712). Weights are the same to the byte.
import type { ConfigDifference } from "../../family/config-differences.ts";
import type { ModelFault } from "../fault.ts";

export const configDiffers: ModelFault<readonly ConfigDifference[], readonly ConfigDifference[]> = {
  code: "CONFIG_DIFFERS",
  of: "model",
  recognise: (differences) => (differences.length === 0 ? null : differences),
  words: () => "the two sides' configs give different mathematics",
  mend: () => "give the side that is wrong the other's config (--config-a, --config-b) and compare again",
};

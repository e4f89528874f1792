// convert-checkpoint as a library: the same steps as the command, without printing and exiting.
//
//   const source = openCheckpoint("outputs/checkpoint/step-1000");
//   const plan = planConversion(source, "model", { side: { adapters, config: "Qwen3-8B" } });
//   const { files } = await convert(plan);

export { adapters } from "../adapters/registry.ts";
export type { Dtype } from "./base/dtype.ts";
export {
  ConvertCheckpointError,
  EnvironmentError,
  type ErrorDetails,
  InputError,
  UsageError,
} from "./base/errors.ts";
export type { Progress } from "./base/steps.ts";
export { VERSION } from "./base/version.ts";
export { type CastReport, type Conversion, type ConvertOptions, convert } from "./convert/convert.ts";
export { type ConversionOptions, type ConversionPlan, planConversion } from "./convert/plan.ts";
export type { Adapter } from "./family/adapter.ts";
export type { Family } from "./family/family.ts";
export type { Checkpoint, Format, OtherEntry, TensorInfo } from "./formats/checkpoint.ts";
export { openCheckpoint } from "./model/open.ts";
export { resolveSide, type Side, type SideOptions } from "./model/sides.ts";
export { type ParityOptions, type ParityReport, runParity } from "./parity/parity.ts";
export { type Diff, type DiffOptions, diff } from "./verify/diff.ts";
export { type Inspection, inspect, type Problem } from "./verify/inspect.ts";
export { type RoundTrip, type RoundTripOptions, roundtrip } from "./verify/roundtrip.ts";
export { type Validation, validate } from "./verify/validate.ts";
export type { Difference } from "./views/difference.ts";

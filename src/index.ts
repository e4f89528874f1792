// convert-checkpoint as a library: the same steps as the command, without printing and exiting.
//
//   const source = openCheckpoint("outputs/checkpoint/step-1000");
//   const plan = planConversion(source, "model", { side: { adapters, config: "Qwen3-8B" } });
//   const { files } = await convert(plan);
export type { Adapter, Family } from "../adapters/adapter.ts";
export { adapters } from "../adapters/registry.ts";
export { type CastReport, type Conversion, type ConvertOptions, convert } from "./convert/convert.ts";
export { openCheckpoint } from "./convert/open.ts";
export { type ConversionOptions, type ConversionPlan, planConversion } from "./convert/plan.ts";
export { resolveSide, type Side, type SideOptions } from "./convert/sides.ts";
export type { Progress } from "./convert/steps.ts";
export {
  ConvertCheckpointError,
  EnvironmentError,
  type ErrorDetails,
  InputError,
  UsageError,
} from "./errors.ts";
export type { Checkpoint, Format, OtherEntry, TensorInfo } from "./formats/checkpoint.ts";
export type { Dtype } from "./formats/dtype.ts";
export { type Diff, type DiffOptions, diff } from "./verify/diff.ts";
export type { Difference } from "./verify/difference.ts";
export { type Inspection, inspect, type Problem } from "./verify/inspect.ts";
export { type ParityOptions, type ParityReport, runParity } from "./verify/parity.ts";
export { type RoundTrip, type RoundTripOptions, roundtrip } from "./verify/roundtrip.ts";
export { type Validation, validate } from "./verify/validate.ts";
export { VERSION } from "./version.ts";

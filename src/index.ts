// convert-checkpoint as a library: what the command does, without printing and exiting. docs/library.md shows each call.
import "./hub/serve.ts";

export { loadAdapters } from "../adapters/load.ts";
export { adapters } from "../adapters/registry.ts";
export type { Check, CheckStatus } from "./base/check.ts";
export type { Dtype } from "./base/dtype.ts";
export {
  ConvertCheckpointError,
  EnvironmentError,
  type ErrorDetails,
  InputError,
  UsageError,
} from "./base/errors.ts";
export { type Failure, failureOf } from "./base/failure.ts";
export type { Progress } from "./base/steps.ts";
export { VERSION } from "./base/version.ts";
export { type CastReport, type Conversion, type ConvertOptions, convert } from "./convert/convert.ts";
export { type InitOptions, planInit } from "./convert/init/init.ts";
export { type FinalizeOptions, finalize, type JoinedConversion, partsAt } from "./convert/parts/finalize.ts";
export { convertPart, type PartConversion, type PartOptions } from "./convert/parts/part.ts";
export { type ConversionOptions, type ConversionPlan, planConversion } from "./convert/plan.ts";
export type { Adapter } from "./family/adapter.ts";
export type { Family } from "./family/family.ts";
export type { Checkpoint, Format, OtherEntry, TensorInfo } from "./formats/checkpoint.ts";
export { DiskFolder, locate, type PathOrLocation } from "./formats/io/disk-folder.ts";
export type { EntryKind, Folder, Location, SourceFile } from "./formats/io/folder.ts";
export type { BlockName } from "./gate/block.ts";
export { check } from "./gate/check.ts";
export { type GateFile, parseGateFile } from "./gate/file/gate-file.ts";
export {
  type GateOptions,
  type GatePage,
  type GateReport,
  type GateResult,
  gateReport,
  runGate,
} from "./gate/file/run.ts";
export type { Profile, ProfileName } from "./gate/profile.ts";
export type { CheckedSide, CheckReport } from "./gate/report.ts";
export type { SideRequest } from "./gate/sides.ts";
export type { Accepted } from "./gate/waivers.ts";
export type { CheckOptions } from "./gate/work.ts";
export { type HubAddress, parseHubAddress } from "./hub/address.ts";
export { type HubSettings, hubSettings } from "./hub/settings.ts";
export { type MergeOptions, mergeAdapters } from "./merge/merge.ts";
export { type Model, type ModelOptions, openModel } from "./model/model.ts";
export { openCheckpoint } from "./model/open.ts";
export { type Cleaned, cleanLeftover, type Leftover, leftoversAt } from "./output/leftovers.ts";
export type { PartNumber } from "./output/parts/place.ts";
export type { PartState, PlanState } from "./output/parts/survey.ts";
export { restoreTarget } from "./output/swap.ts";
export type { Acceptance, BackendChoice, RoutingChoice } from "./parity/choices.ts";
export { type Diagnosis, doctor } from "./parity/doctor.ts";
export type { PromptRequest } from "./parity/inputs/prompt.ts";
export type { InputRequest } from "./parity/inputs/read.ts";
export { type InputRequests, readPrompts } from "./parity/inputs/several.ts";
export { tokenTexts } from "./parity/inputs/token-texts.ts";
export { type ParityOptions, type ParityReport, runParity, type SideReport } from "./parity/parity.ts";
export type { Change, FileChange } from "./push/difference.ts";
export { type Report, readReport } from "./push/evidence/report.ts";
export { type Push, push } from "./push/push.ts";
export type { PushOptions } from "./push/work.ts";
export { type CardWritten, writeCard } from "./push/write-card.ts";
export type { Fact, ReportDocument, Section, Table, Verdict } from "./report/document.ts";
export type { FileRead, Header, HeaderConfig, InputFile } from "./report/header.ts";
export { renderHtml } from "./report/html.ts";
export { renderJson } from "./report/json.ts";
export { renderJunit } from "./report/junit.ts";
export { renderMarkdown } from "./report/markdown.ts";
export { type Renderer, rendererFor } from "./report/renderers.ts";
export { renderText } from "./report/text.ts";
export { type Cleaning, cleanDocument } from "./report/views/clean.ts";
export { convertDocument } from "./report/views/convert.ts";
export { diffDocument } from "./report/views/diff.ts";
export { doctorDocument } from "./report/views/doctor.ts";
export { failureDocument } from "./report/views/failure.ts";
export { type FamilyRow, families, familiesDocument } from "./report/views/families.ts";
export { checkDocument, checkSection } from "./report/views/gate/check.ts";
export { gateDocument } from "./report/views/gate/gate.ts";
export { inspectDocument } from "./report/views/inspect.ts";
export { matchDocument } from "./report/views/match.ts";
export { mergeCheckDocument } from "./report/views/merge/check-merge.ts";
export { parityDocument } from "./report/views/parity.ts";
export { joinedDocument, type PartsListing, partDocument, partsDocument } from "./report/views/parts.ts";
export { planDocument } from "./report/views/plan.ts";
export { cardDocument, pushDocument } from "./report/views/push.ts";
export { roundtripDocument } from "./report/views/roundtrip.ts";
export { sealDocument } from "./report/views/seal.ts";
export { validateDocument } from "./report/views/validate.ts";
export { type Diff, type DiffOptions, diff } from "./verify/diff.ts";
export type { ConfigMatch } from "./verify/identity/compare-config.ts";
export { type Match, type MatchOptions, match } from "./verify/identity/match.ts";
export { type Sealed, type SealOptions, seal } from "./verify/identity/seal.ts";
export type { Seal, SealedTensor } from "./verify/identity/seal-data.ts";
export { encodeSeal, parseSeal, readSeal, sealJson } from "./verify/identity/seal-file.ts";
export { type Inspection, inspect, type Problem } from "./verify/inspect.ts";
export {
  type CheckedChange,
  checkMerge,
  type MergeCheck,
  type MergeCheckOptions,
} from "./verify/merge/check-merge.ts";
export { type RoundTrip, type RoundTripOptions, roundtrip } from "./verify/roundtrip.ts";
export { type Validation, validate } from "./verify/validate.ts";
export type { Difference } from "./views/difference.ts";
